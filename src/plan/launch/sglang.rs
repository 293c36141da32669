//! SGLang: stages of any number of layers, equally many on each machine.

use super::facts::{Facts, Stage};
use super::{Launch, Script, Server, quoted};

pub(super) fn commands(mut facts: Facts<'_>) -> Launch {
    if facts.stages.len() > 1 {
        facts.cannot.push(
            "SGLang 0.5.23 runs no InternVL in stages (\"Pipeline Parallel is not compatible with this model\"); where yours \
             refuses, share each layer (--tp-size) instead."
                .into(),
        );
    }
    facts.say_ends("SGLang", true);
    let ranks = facts.stages.len();
    let nodes = facts.hosts.len();
    if facts.hosts.iter().any(|(_, own)| own.len() != facts.hosts[0].1.len()) {
        facts.cannot.push(
            "SGLang wants equally many GPUs of each machine; the plan uses more of some than of others."
                .into(),
        );
    }
    let partition = match ranks {
        1 => String::new(),
        _ => format!("SGLANG_PP_LAYER_PARTITION={} ", facts.partition()),
    };
    let head = facts.hosts[0].0.clone().unwrap_or_default();
    let script = |(place, (host, own)): (usize, &(Option<String>, Vec<Stage>))| {
        let mut line = format!(
            "CUDA_VISIBLE_DEVICES={} {partition}python -m sglang.launch_server --model-path {} --tp-size 1 --pp-size \
             {ranks} --context-length {} --max-running-requests {} --trust-remote-code --port 30000",
            facts.visible(own),
            quoted(facts.checkpoint),
            facts.context(),
            facts.in_flight()
        );
        if let Some(dtype) = facts.dtype() {
            line.push_str(&format!(" --dtype {dtype}"));
        }
        if nodes > 1 {
            line.push_str(&format!(" --nnodes {nodes} --node-rank {place} --dist-init-addr {head}:20000"));
            line.push_str(if place == 0 { " --host 0.0.0.0" } else { "" });
        }
        Script { host: host.clone(), lines: vec![line] }
    };
    let scripts = facts.hosts.iter().enumerate().map(script).collect();
    let mut notes = Vec::new();
    notes.extend(facts.tensor_note("--tp-size", "--pp-size"));
    facts.finish(Server::Sglang, scripts, notes)
}
