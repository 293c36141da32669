//! The build for CUDA beside the ordinary one: as `shardscope-cuda` in the same folder, it is started in this one's
//! place where there is a driver. It cannot be the only one, since the system does not start a program whose libraries
//! are missing.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus};

use shardscope::devices::Driver;
use shardscope::{Problem, Result, terminal};

/// Starts it with what this program was given, where it is there and can run. Returns where it has run, with how it
/// ended; otherwise this program goes on by itself.
pub fn run() -> Option<ExitCode> {
    let program = program().filter(|program| program.is_file())?;
    // Without a driver nobody expects it to start.
    Driver::open().ok()?;
    match starts(&program).and_then(|()| run_instead(&program)) {
        Ok(status) => {
            Some(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
        }
        Err(problem) => {
            terminal::say(format!("note: {problem}"));
            None
        }
    }
}

fn program() -> Option<PathBuf> {
    let own = std::env::current_exe().ok()?;
    Some(own.with_file_name(format!("shardscope-cuda{}", std::env::consts::EXE_SUFFIX)))
}

/// Whether the system can start a program: it says its version and nothing else.
fn starts(program: &Path) -> Result<()> {
    let said = Command::new(program).arg("--version").output();
    let cannot = |why: String| {
        Err(Problem::new(format!("it cannot be started, so nothing is computed with CUDA: {why}"))
            .in_file(program)
            .fix("install the libraries that it misses (CUDA's driver and runtime, cuBLAS, cuRAND), or remove it"))
    };
    match said {
        Ok(said) if said.status.success() => Ok(()),
        Ok(said) => {
            let words = String::from_utf8_lossy(&said.stderr).into_owned();
            let first = words.lines().next().unwrap_or_default();
            // The system begins with the program's name.
            let first = first.trim_start_matches(&format!("{}: ", program.display()));
            cannot(if first.is_empty() { said.status.to_string() } else { first.to_owned() })
        }
        Err(error) => cannot(error.to_string()),
    }
}

/// Runs a program with what this one was given. On Unix it takes this one's place, and nothing comes back but an error.
fn run_instead(program: &Path) -> Result<ExitStatus> {
    let mut command = Command::new(program);
    command.args(std::env::args_os().skip(1));
    #[cfg(unix)]
    let error = std::os::unix::process::CommandExt::exec(&mut command);
    #[cfg(not(unix))]
    let error = match command.status() {
        Ok(status) => return Ok(status),
        Err(error) => error,
    };
    Err(Problem::io("start the build for CUDA", program, &error))
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_program_that_cannot_start_is_told_with_what_the_system_says() {
        let dir = tempfile::tempdir().unwrap();
        let made = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
            path
        };
        assert!(starts(&made("well", "#!/bin/sh\n[ \"$1\" = --version ]\n")).is_ok());
        let missing = "libcuda.so.1: cannot open shared object file";
        let ill = made("ill", &format!("#!/bin/sh\necho '{missing}' >&2\nexit 127\n"));
        let problem = starts(&ill).unwrap_err().to_string();
        assert!(problem.contains(missing) && problem.contains("ill"), "{problem}");
        assert!(starts(&dir.path().join("nowhere")).is_err());
    }
}
