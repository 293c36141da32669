//! The layout board as a person uses it, without a display.

use std::time::{Duration, Instant};

use egui::{Key, Modifiers, Pos2, Vec2};
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable as _;
use shardscope::app::board::desk::Desk;
use shardscope::app::shell::Habits;
use shardscope::app::{App, Screen};
use shardscope::soft_render::SoftRenderer;

type Window = Harness<'static, App>;

/// The window on the board, with this model and these devices, when everything is worked out.
fn board(model: &str, devices: &str) -> Window {
    let (model, devices) = (model.to_owned(), devices.to_owned());
    let mut window = Harness::builder()
        .with_size(Vec2::new(1360.0, 860.0))
        .with_theme(egui::Theme::Dark)
        .with_max_steps(64)
        .renderer(SoftRenderer::default())
        .build_eframe(move |cc| {
            let habits = Habits { theme: shardscope::app::shell::Theme::Dark, ..Habits::default() };
            let mut app = App::new(&cc.egui_ctx, habits);
            app.workspace.choices.devices = devices;
            app.apply(shardscope::app::Wish::OpenCheckpoint(model));
            app.screen = Screen::Board;
            app
        });
    settle(&mut window);
    window
}

/// Steps until no job is at work.
fn settle(window: &mut Window) {
    let start = Instant::now();
    loop {
        window.step();
        let app = window.state();
        let is_ready = app.board.desk().is_some() && !app.workspace.subject.is_loading();
        if is_ready && !app.workspace.dataset.is_loading() && !app.board.is_working() {
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "the board is never ready");
        std::thread::sleep(Duration::from_millis(2));
    }
    window.run();
}

fn desk(window: &Window) -> &Desk {
    window.state().board.desk().unwrap()
}

fn device_of(window: &Window, unit: usize) -> usize {
    desk(window).draft().plan.assignment[unit]
}

#[test]
fn pictures() {
    let mut window = board("InternVL2-Llama3-76B", "sim:8x40GiB");
    window.render().unwrap().save("/tmp/board1.png").unwrap();
}
