//! LMDeploy: no stages, every layer is shared by the GPUs of one machine.

use super::facts::Facts;
use super::{Launch, Script, Server, quoted};
use crate::plan::bytes;

pub(super) fn commands(mut facts: Facts<'_>) -> Launch {
    let first = facts.hosts[0].1.clone();
    let size = facts.tensor_size(first.len() as u64);
    facts.cannot.push(format!(
        "LMDeploy has no stages: each layer is shared by {size} GPUs (--tp), whatever the plan puts where."
    ));
    if (size as usize) < facts.stages.len() {
        facts.cannot.push(format!(
            "{} of the plan's {} GPUs are not used: the heads of the attention can be shared by {size}, on one machine.",
            facts.stages.len() - size as usize,
            facts.stages.len()
        ));
    }
    let weights = facts.case.model.weight_bytes() / size.max(1);
    let smallest =
        first.iter().take(size as usize).map(|stage| facts.plan.devices[stage.device].usable()).min();
    if smallest.is_some_and(|usable| weights > usable) {
        facts.cannot.push(format!(
            "It would not fit: weights alone take {} of each GPU, of which the smallest has {}.",
            bytes::human(weights),
            bytes::human(smallest.unwrap_or(0))
        ));
    }
    let line = format!(
        "CUDA_VISIBLE_DEVICES={} lmdeploy serve api_server {} --tp {size} --session-len {} --max-batch-size {} \
         --trust-remote-code --server-port 23333",
        facts.visible(&first[..size as usize]),
        quoted(facts.checkpoint),
        facts.context(),
        facts.in_flight()
    );
    let scripts = vec![Script { host: facts.hosts[0].0.clone(), lines: vec![line] }];
    facts.hosts.truncate(1);
    facts.finish(Server::Lmdeploy, scripts, Vec::new())
}
