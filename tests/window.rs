//! The window as a person uses it: found by names, clicked, typed into, drawn on the CPU.

mod window_support;

use egui_kittest::kittest::Queryable as _;
use shardscope::app::Screen;
use window_support::{settle, window};

#[test]
fn every_screen_is_reached_by_its_tab_and_its_keys() {
    let folder = tempfile::tempdir().unwrap();
    let mut harness = window(folder.path());
    for (place, screen) in Screen::NAVIGATION.into_iter().enumerate() {
        harness.get_by_label(screen.name()).click();
        settle(&mut harness);
        assert_eq!(harness.state().screen, screen);
        let keys = [
            egui::Key::Num1,
            egui::Key::Num2,
            egui::Key::Num3,
            egui::Key::Num4,
            egui::Key::Num5,
            egui::Key::Num6,
        ];
        let other = (place + 1) % keys.len();
        harness.key_press_modifiers(egui::Modifiers::COMMAND, keys[other]);
        settle(&mut harness);
        assert_eq!(harness.state().screen, Screen::NAVIGATION[other]);
    }
}
