//! What drags of chips leave behind, counted by the program's own allocator: nothing.

mod window_support;

use shardscope::app::board::desk::Pull;
use shardscope::app::{Wish, board};
use shardscope::devices::meter::{Meter, Part};
use window_support::board::*;

/// Drags with the pointer, in whole frames: a chip to the other device and back. Steps that can be taken back are bounded
/// in number, so the count begins when there are as many of them as there will ever be.
#[test]
fn ten_thousand_chips_that_were_dragged_leave_no_memory_behind() {
    const CHIPS_A_DRAG: usize = 12;
    // Counts what this thread, which is the window's, takes and anyone gives back.
    let meter = Meter::new("the window", None).unwrap();
    let _counted = meter.enter(Part::Activation);
    let mut window = board_of("InternVL3-8B", "sim:2x24GiB");
    window.state_mut().board.view.is_lower_open = Some(false);
    let units: Vec<usize> = (2..2 + CHIPS_A_DRAG).map(|number| layer(&window, number)).collect();
    let drags = |window: &mut Window, count: usize| {
        for _ in 0..count {
            let device = device_of(window, units[0]);
            window.state_mut().board.view.selection.only(units.clone());
            window.step();
            let from = place(window, "layer 2, ").center();
            let to = bottom(window, &format!("sim:{}", 1 - device));
            window.drag_at(from);
            window.step();
            window.hover_at(from.lerp(to, 0.5));
            window.step();
            window.hover_at(to);
            window.step();
            window.drop_at(to);
            window.step();
            assert!(units.iter().all(|unit| device_of(window, *unit) == 1 - device), "the drag moved them");
        }
        settle(window);
    };
    // As many steps as are ever remembered.
    for turn in 0..600 {
        let pull = Pull::Move { units: vec![units[0]], device: turn % 2 };
        window.state_mut().apply(Wish::Board(board::Wish::Pull(pull)));
    }
    drags(&mut window, 40);
    let before = meter.live();
    let count = 10_000 / CHIPS_A_DRAG;
    drags(&mut window, count);
    let grown = meter.live().saturating_sub(before);
    // A leak of a single pointer a chip would be 80,000 bytes; what is cached moves by less than this.
    assert!(before > 1 << 20, "{before} bytes: the window is counted");
    assert!(grown < 256 << 10, "{grown} bytes more are held after {count} drags");
    let textures = window.ctx.tex_manager().read().num_allocated();
    assert!(textures <= 2, "{textures} textures");
}
