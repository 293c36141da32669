//! The window on a real display, with real keys: `cargo test --test real_window -- --ignored` where `DISPLAY` is set and
//! `xdotool` is installed, as under Xvfb.

use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// The program, ended when the test ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(folder: &Path) -> Running {
    let child = Command::new(env!("CARGO_BIN_EXE_shardscope"))
        .current_dir(folder)
        .env("XDG_DATA_HOME", folder.join("data"))
        .env_remove("WAYLAND_DISPLAY")
        .env_remove("WAYLAND_SOCKET")
        .spawn()
        .unwrap();
    Running(child)
}

fn xdotool(arguments: &[&str]) -> Option<String> {
    let output = Command::new("xdotool").args(arguments).output().expect("xdotool is installed");
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}

fn wait<T>(what: &str, seconds: u64, mut found: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(start.elapsed() < Duration::from_secs(seconds), "still waiting for {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Waits for the window and gives it the keyboard: without a window manager nobody else does.
fn focused() -> String {
    let id = wait("the window", 60, || {
        let ids = xdotool(&["search", "--onlyvisible", "--name", "^Shardscope$"])?;
        ids.lines().next().map(str::to_owned)
    });
    xdotool(&["windowfocus", "--sync", &id]);
    std::thread::sleep(Duration::from_millis(500));
    id
}

fn close(window: &str, running: &mut Running) {
    xdotool(&["windowfocus", "--sync", window]);
    xdotool(&["key", "ctrl+q"]);
    let ended = wait("the program to end", 30, || running.0.try_wait().unwrap());
    assert!(ended.success(), "{ended}");
}

#[test]
#[ignore = "needs a display and xdotool"]
fn one_key_runs_the_built_in_pair_and_the_next_start_knows_it() {
    let folder = tempfile::tempdir().unwrap();
    let sessions = folder.path().join("sessions");
    std::fs::create_dir(&sessions).unwrap();
    let mut running = start(folder.path());
    let window = focused();
    xdotool(&["key", "ctrl+Return"]);
    let complete = |summary: &shardscope::session::Summary| {
        summary.state == shardscope::session::State::Complete && !summary.running
    };
    wait("the run", 300, || shardscope::session::list(&sessions).iter().any(complete).then_some(()));
    xdotool(&["key", "ctrl+shift+l"]);
    std::thread::sleep(Duration::from_secs(1));
    close(&window, &mut running);
    let kept = std::fs::read_to_string(folder.path().join("data/shardscope/app.ron")).unwrap();
    assert!(kept.contains("theme"), "{kept}");

    // A broken file of habits stops nothing.
    std::fs::write(folder.path().join("data/shardscope/app.ron"), "{ broken").unwrap();
    let mut running = start(folder.path());
    let window = focused();
    close(&window, &mut running);
}
