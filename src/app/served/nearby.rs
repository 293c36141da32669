//! Servers on this machine: the ports on which the usual ones listen, asked when a person wants to know.

use std::time::Duration;

use crate::endpoint::{Address, Endpoint, Health, Limits};

/// Where servers listen unless they are told otherwise: vLLM, transformers and llama-cpp-python (8000), a second of
/// these (8001), llama.cpp (8080), SGLang (30000), LMDeploy (23333), Ollama (11434), LM Studio (1234), LiteLLM (4000).
pub const PORTS: [u16; 8] = [8000, 8001, 8080, 30000, 23333, 11434, 1234, 4000];

/// A server that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Nearby {
    /// Where it is.
    pub address: String,
    /// What it says of itself.
    pub health: Health,
}

/// Asks on each of these ports of this machine which models are served there; no key is sent. Whoever names none is not
/// listed. Takes a few seconds at most.
pub fn look(ports: &[u16]) -> Vec<Nearby> {
    let limits = Limits {
        connect: Duration::from_millis(500),
        first_token: Some(Duration::from_secs(3)),
        answer: Duration::from_secs(4),
        retries: 0,
        ..Limits::default()
    };
    let ask = |port: u16| {
        let address = format!("http://localhost:{port}");
        let endpoint = Endpoint::new(Address::new(&address, false).ok()?, "", None, limits);
        let health = endpoint.health().ok().filter(|health| !health.models.is_empty())?;
        Some(Nearby { address, health })
    };
    std::thread::scope(|scope| {
        let asked: Vec<_> = ports.iter().map(|port| scope.spawn(move || ask(*port))).collect();
        asked.into_iter().filter_map(|thread| thread.join().ok().flatten()).collect()
    })
}
