//! llama.cpp's `llama-server`: stages by shares of the layers, over several machines by its RPC server.

use super::facts::Facts;
use super::{Launch, Script, Server};
use crate::plan::bytes;
use crate::plan::unit::UnitKind;

pub(super) fn commands(mut facts: Facts<'_>) -> Launch {
    let vision = facts.bytes_of(UnitKind::is_vision);
    let seat = facts.device_of(UnitKind::Projector).or_else(|| facts.stages.first().map(|s| s.device));
    let seat =
        seat.and_then(|device| facts.stages.iter().position(|stage| stage.device == device)).unwrap_or(0);
    let units = facts.case.model.units.iter().zip(&facts.plan.assignment);
    let mut holders: Vec<usize> = units.filter(|(u, _)| u.kind.is_vision()).map(|(_, &d)| d).collect();
    holders.dedup();
    if holders.len() > 1 || holders.first().is_some_and(|&device| device != facts.stages[seat].device) {
        facts.cannot.push(format!(
            "llama.cpp keeps the vision tower whole, here on GPU {seat} of the list ({}).",
            bytes::human(vision)
        ));
    }
    facts.cannot.push("llama.cpp keeps the token embedding in host memory.".into());
    let last = facts.stages.last().map(|stage| stage.device);
    if facts.device_of(UnitKind::Head) != last {
        facts.cannot.push("llama.cpp keeps the head on the last GPU; the plan has it elsewhere.".into());
    }
    // The output counts as one more layer of the last GPU.
    let mut shares: Vec<u64> = facts.stages.iter().map(|stage| stage.layers).collect();
    if let Some(last) = shares.last_mut() {
        *last += 1;
    }
    let on_gpus: u64 = shares.iter().sum();
    let shares: Vec<String> = shares.iter().map(u64::to_string).collect();
    let mut scripts = Vec::new();
    let mut rpc = String::new();
    let mut devices: Vec<String> = Vec::new();
    for (place, (host, own)) in facts.hosts.iter().enumerate() {
        if place == 0 {
            devices.extend((0..own.len()).map(|gpu| format!("CUDA{gpu}")));
            continue;
        }
        let name = host.clone().unwrap_or_default();
        let mut lines = Vec::new();
        for (gpu, stage) in own.iter().enumerate() {
            let port = 50052 + gpu;
            let visible = facts.visible(&[*stage]);
            lines.push(format!("CUDA_VISIBLE_DEVICES={visible} rpc-server --host 0.0.0.0 --port {port} &"));
            rpc.push_str(if rpc.is_empty() { " --rpc " } else { "," });
            rpc.push_str(&format!("{name}:{port}"));
            devices.push(format!("RPC[{name}:{port}]"));
        }
        scripts.push(Script { host: host.clone(), lines });
    }
    if facts.is_spread() {
        facts
            .cannot
            .push("rpc-server has no password and no encryption: only for a network of your own.".into());
    }
    let named = if facts.is_spread() { format!(" --device {}", devices.join(",")) } else { String::new() };
    let line = format!(
        "CUDA_VISIBLE_DEVICES={} MTMD_BACKEND_DEVICE=CUDA{} llama-server -m MODEL.gguf --mmproj MMPROJ.gguf{rpc}{named} \
         --split-mode layer --tensor-split {} --n-gpu-layers {on_gpus} --ctx-size {} --parallel {} --port 8080{}",
        facts.visible(&facts.hosts[0].1),
        seat.min(facts.hosts[0].1.len() - 1),
        shares.join(","),
        facts.context().saturating_mul(facts.in_flight()),
        facts.in_flight(),
        if facts.is_spread() { " --host 0.0.0.0" } else { "" },
    );
    scripts.insert(0, Script { host: facts.hosts[0].0.clone(), lines: vec![line] });
    // The machines that are asked have to be there first.
    scripts.rotate_left(1);
    let mut notes = vec![
        "MODEL.gguf and MMPROJ.gguf are made of the checkpoint by llama.cpp's convert_hf_to_gguf.py, the second with \
         --mmproj."
            .to_owned(),
    ];
    if facts.is_spread() {
        notes.push(
            "llama-server --list-devices tells whether the devices have these names in your version.".into(),
        );
    }
    facts.finish(Server::LlamaCpp, scripts, notes)
}
