//! The last bytes of replies whose words are all there: read on a thread of their own, so that the connection can be used
//! again and nobody waits for a server that does not hang up.

use std::io::Read;

use crossbeam_channel::{Sender, bounded};
use ureq::BodyReader;

/// Endings that wait; of more the connection is closed.
const WAITING: usize = 64;

/// Bytes that may follow the end of the words.
const LONGEST: u64 = 64 << 10;

/// Reads the ends of replies; the thread goes with the last of its clones.
#[derive(Debug, Clone)]
pub(super) struct Endings(Sender<BodyReader<'static>>);

impl Endings {
    /// Starts the thread; none where the system gives none, and connections are then used once.
    pub(super) fn start() -> Option<Self> {
        let (endings, inbox) = bounded::<BodyReader<'static>>(WAITING);
        let body = move || {
            for ending in inbox {
                // Whatever it says, and however it breaks: the reply is complete without it.
                let _ = std::io::copy(&mut ending.take(LONGEST), &mut std::io::sink());
            }
        };
        std::thread::Builder::new().name("endings".into()).spawn(body).ok()?;
        Some(Self(endings))
    }

    /// Takes the end of a reply.
    pub(super) fn take(&self, ending: BodyReader<'static>) {
        let _ = self.0.try_send(ending);
    }
}
