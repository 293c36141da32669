//! The window driven from outside by names: its AccessKit tree is read, a click put in, a screenshot taken.
//! `cargo test --features inspection --test inspection -- --ignored` where `DISPLAY` is set, as under Xvfb.
#![cfg(feature = "inspection")]

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use egui::accesskit::{Node, Role, TreeUpdate};
use egui::{Event, Modifiers, PointerButton, Pos2, pos2};
use egui_inspection::protocol::{
    PROTOCOL_VERSION, Request, Response, read_handshake, read_message, write_message,
};

/// The program, ended when the test ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Who looks at the window from outside.
struct Inspector(TcpStream);

impl Inspector {
    fn ask(&mut self, request: &Request) -> Response {
        write_message(&mut self.0, request).unwrap();
        read_message(&mut self.0).unwrap()
    }

    fn tree(&mut self) -> TreeUpdate {
        assert!(matches!(self.ask(&Request::Settle { max_steps: 600 }), Response::Settled { .. }));
        match self.ask(&Request::GetTree) {
            Response::Tree { accesskit: Some(tree), .. } => tree,
            other => panic!("a tree was asked for: {other:?}"),
        }
    }

    fn click(&mut self, at: Pos2) {
        let button = |pressed| Event::PointerButton {
            pos: at,
            button: PointerButton::Primary,
            pressed,
            modifiers: Modifiers::NONE,
        };
        for events in [vec![Event::PointerMoved(at)], vec![button(true)], vec![button(false)]] {
            assert!(matches!(self.ask(&Request::ApplyEvents { events }), Response::Done));
        }
    }
}

fn node(tree: &TreeUpdate, role: Role, name: &str) -> Option<Node> {
    let is_it = |node: &&Node| node.role() == role && node.label() == Some(name);
    tree.nodes.iter().map(|(_, node)| node).find(is_it).cloned()
}

#[test]
#[ignore = "needs a display"]
fn a_window_is_read_clicked_and_pictured_from_outside() {
    let folder = tempfile::tempdir().unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut running = Running(
        Command::new(env!("CARGO_BIN_EXE_shardscope"))
            .current_dir(folder.path())
            .env("XDG_DATA_HOME", folder.path().join("data"))
            .env("EGUI_INSPECTION", port.to_string())
            .env_remove("WAYLAND_DISPLAY")
            .env_remove("WAYLAND_SOCKET")
            .spawn()
            .unwrap(),
    );
    let begun = Instant::now();
    let stream = loop {
        if let Ok(stream) = TcpStream::connect(port) {
            break stream;
        }
        assert!(running.0.try_wait().unwrap().is_none(), "the program has ended");
        assert!(begun.elapsed() < Duration::from_secs(60), "nobody answers at {port}");
        std::thread::sleep(Duration::from_millis(50));
    };
    let mut window = Inspector(stream);
    assert_eq!(read_handshake(&mut window.0).unwrap(), PROTOCOL_VERSION);
    assert!(matches!(window.ask(&Request::GetInfo), Response::Info { .. }));

    let tree = window.tree();
    assert!(node(&tree, Role::Button, "Run 400 questions").is_some(), "the built-in pair is ready");
    assert!(node(&tree, Role::Button, "Read the folder again").is_none());
    let tab = node(&tree, Role::Tab, "Sessions").unwrap();
    let place = tab.bounds().unwrap();
    window.click(pos2(((place.x0 + place.x1) / 2.0) as f32, ((place.y0 + place.y1) / 2.0) as f32));
    let tree = window.tree();
    assert!(
        node(&tree, Role::Button, "Read the folder again").is_some(),
        "the click has led to the sessions"
    );

    let Response::Screenshot(picture) = window.ask(&Request::GetScreenshot { pixels_per_point: None }) else {
        panic!("a screenshot was asked for");
    };
    let image = image::load_from_memory(&picture.bytes).unwrap().to_rgb8();
    assert_eq!([image.width(), image.height()], picture.size);
    let colors: std::collections::HashSet<_> = image.pixels().map(|pixel| pixel.0).collect();
    assert!(colors.len() > 50, "only {} colours", colors.len());
    if let Some(to) = std::env::var_os("SHARDSCOPE_PICTURE") {
        std::fs::write(to, &picture.bytes).unwrap();
    }
}
