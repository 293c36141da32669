//! Work off the window's thread: one result, progress on the way, and a cancel.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crossbeam_channel::{Receiver, bounded};

use super::language;
use crate::{Problem, Result};

/// Asks the window to draw again; callable from any thread.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// What a job tells about itself while it works.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
    wake: Wake,
}

#[derive(Default)]
struct Shared {
    cancelled: AtomicBool,
    done: AtomicU64,
    total: AtomicU64,
}

impl Handle {
    /// Tells how much is done of how much (0 where unknown); `false` where the job is to stop.
    pub fn at(&self, done: u64, total: u64) -> bool {
        let before = self.shared.done.swap(done, Ordering::Relaxed);
        self.shared.total.store(total, Ordering::Relaxed);
        // A bar of a hundred steps needs no more frames than that.
        let step = (total / 100).max(1);
        if before / step != done / step {
            (self.wake)();
        }
        self.goes_on()
    }

    /// Whether nobody has cancelled it.
    pub fn goes_on(&self) -> bool {
        !self.shared.cancelled.load(Ordering::Relaxed)
    }
}

/// A job at work. Dropping it cancels it; the thread ends by itself.
pub struct Job<T> {
    result: Receiver<Result<T>>,
    shared: Arc<Shared>,
}

impl<T: Send + 'static> Job<T> {
    /// Starts work on a thread of its own. A panic in it becomes a problem.
    pub fn start(
        name: &'static str,
        wake: &Wake,
        work: impl FnOnce(&Handle) -> Result<T> + Send + 'static,
    ) -> Self {
        let (sender, result) = bounded(1);
        let shared = Arc::new(Shared::default());
        let handle = Handle { shared: shared.clone(), wake: wake.clone() };
        let refused = sender.clone();
        // What a job has to say is said in the window's language.
        let language = language::chosen();
        let body = move || {
            language::choose(language);
            let made = catch_unwind(AssertUnwindSafe(|| work(&handle))).unwrap_or_else(|_| {
                Err(Problem::new(format!("the program made an error of its own in \"{name}\""))
                    .fix("please report what you did"))
            });
            // Whoever asked may be gone.
            let _ = sender.send(made);
            (handle.wake)();
        };
        if let Err(error) = std::thread::Builder::new().name(name.into()).spawn(body) {
            let _ = refused.send(Err(Problem::new(format!("the system gives no thread: {error}"))));
        }
        Self { result, shared }
    }

    /// The result, once.
    pub fn poll(&self) -> Option<Result<T>> {
        self.result.try_recv().ok()
    }

    /// The share that is done, where it is known.
    pub fn share(&self) -> Option<f32> {
        let total = self.shared.total.load(Ordering::Relaxed);
        (total > 0).then(|| self.shared.done.load(Ordering::Relaxed) as f32 / total as f32)
    }
}

impl<T> Drop for Job<T> {
    fn drop(&mut self) {
        self.shared.cancelled.store(true, Ordering::Relaxed);
    }
}

/// Lets go of something large on another thread: to free 100,000 answers takes longer than a frame may.
pub fn let_go(it: impl Send + 'static) {
    rayon::spawn(move || drop(it));
}

/// Something that a job brings.
#[derive(Default)]
pub enum Loadable<T> {
    /// Nothing was asked for.
    #[default]
    Empty,
    /// The job is at work.
    Loading(Job<T>),
    /// It is there.
    Ready(T),
    /// It could not be had.
    Refused(Problem),
}

impl<T: Send + 'static> Loadable<T> {
    /// Takes the job's result where it has come; whether it just came.
    pub fn poll(&mut self) -> bool {
        let Self::Loading(job) = self else { return false };
        let Some(result) = job.poll() else { return false };
        *self = match result {
            Ok(value) => Self::Ready(value),
            Err(problem) => Self::Refused(problem),
        };
        true
    }

    /// The value, where it is there.
    pub fn ready(&self) -> Option<&T> {
        match self {
            Self::Ready(value) => Some(value),
            _ => None,
        }
    }

    /// Whether the job is at work.
    pub fn is_loading(&self) -> bool {
        matches!(self, Self::Loading(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    fn wait<T: Send + 'static>(job: &Job<T>) -> Result<T> {
        let start = Instant::now();
        loop {
            if let Some(result) = job.poll() {
                return result;
            }
            assert!(start.elapsed() < Duration::from_secs(20), "the job does not end");
            std::thread::yield_now();
        }
    }

    fn asleep() -> Wake {
        Arc::new(|| {})
    }

    #[test]
    fn a_job_brings_its_result_and_a_panic_is_a_problem() {
        assert_eq!(wait(&Job::start("six", &asleep(), |_| Ok(6))).unwrap(), 6);
        let job: Job<()> = Job::start("broken", &asleep(), |_| std::panic::resume_unwind(Box::new(())));
        assert!(wait(&job).unwrap_err().what.contains("broken"));
    }

    #[test]
    fn dropping_a_job_cancels_it() {
        let (told, heard) = bounded(1);
        let job: Job<()> = Job::start("endless", &asleep(), move |handle| {
            while handle.at(1, 2) {
                std::thread::yield_now();
            }
            told.send(()).map_err(|e| Problem::new(e.to_string()))
        });
        drop(job);
        heard.recv_timeout(Duration::from_secs(20)).unwrap();
    }
}
