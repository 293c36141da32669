//! `shardscope`: the command line and, with a display, the window.

#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

#[cfg(not(feature = "cuda"))]
mod beside;

use std::process::ExitCode;

use clap::Parser;
use shardscope::cli::{Cli, Command, Ending, EvalArgs, Failure, Outcome};
use shardscope::{app, terminal};

fn main() -> ExitCode {
    #[cfg(not(feature = "cuda"))]
    if let Some(code) = beside::run() {
        return code;
    }
    let outcome = match Cli::parse().command {
        None => window(),
        Some(Command::Eval(args)) => terminal::eval::run(&args),
        Some(Command::Inspect(args)) => terminal::inspect::run(&args),
        Some(Command::Plan(args)) => terminal::plan_sources::run(&args),
        Some(Command::Key(command)) => terminal::keys::run(&command),
        Some(Command::Devices(args)) => terminal::plan_sources::devices(&args),
        Some(Command::Bench(args)) => terminal::bench::run(&args),
        Some(Command::ReadAnswers(args)) => terminal::scoring::read_answers(&args),
        Some(Command::Score(args)) => terminal::scoring::score(&args),
        Some(Command::Sessions(command)) => terminal::sessions::run(&command),
        Some(Command::Render(args)) => app::render::run(&args).map(|()| Ending::Done).map_err(Failure::from),
        Some(Command::Datasets(args)) => terminal::datasets::run(&args),
    };
    match outcome {
        Ok(Ending::Done) => ExitCode::SUCCESS,
        Ok(Ending::Incomplete) => ExitCode::from(4),
        Err(Failure::Refused(problem)) => {
            terminal::say(format!("shardscope: {problem}"));
            ExitCode::from(3)
        }
        Err(Failure::Broken(problem)) => {
            terminal::say(format!("shardscope: {problem}"));
            ExitCode::from(1)
        }
    }
}

/// Opens the window; where that cannot be, says so and runs the built-in evaluation in the terminal.
fn window() -> Outcome {
    let Err(problem) = app::open() else { return Ok(Ending::Done) };
    terminal::say(format!(
        "No window can be opened here ({}): running the built-in evaluation in the terminal (`shardscope --help` shows more).",
        problem.what
    ));
    terminal::eval::run(&EvalArgs::built_in())
}
