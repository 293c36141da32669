//! vLLM: stages of any number of layers, over several machines by Ray.

use super::facts::{Facts, Stage};
use super::{Launch, Script, Server, quoted};
use crate::plan::bytes;
use crate::plan::unit::UnitKind;

pub(super) fn commands(mut facts: Facts<'_>) -> Launch {
    facts.say_ends("vLLM", false);
    let ranks = facts.stages.len();
    let mut serve = vec!["vllm serve".to_owned(), quoted(facts.checkpoint)];
    serve.push(format!("--pipeline-parallel-size {ranks} --tensor-parallel-size 1"));
    serve.push(format!("--max-model-len {} --max-num-seqs {}", facts.context(), facts.in_flight()));
    serve.extend(facts.dtype().map(|dtype| format!("--dtype {dtype}")));
    serve.push("--trust-remote-code --port 8000".into());
    let partition = match ranks {
        1 => String::new(),
        _ => format!("VLLM_PP_LAYER_PARTITION={} ", facts.partition()),
    };
    let visible = |stages: &[Stage]| format!("CUDA_VISIBLE_DEVICES={} ", facts.visible(stages));
    let mut notes = Vec::new();
    let scripts = if facts.is_spread() {
        serve.push("--distributed-executor-backend ray".into());
        let head = facts.hosts[0].0.clone().unwrap_or_default();
        notes.push(
            "Ray numbers the machines itself: the one on which vLLM starts first, the others by address."
                .into(),
        );
        let start = |(place, (host, own)): (usize, &(Option<String>, Vec<Stage>))| {
            let ray = match place {
                0 => "ray start --head --port=6379".to_owned(),
                _ => format!("ray start --address={head}:6379"),
            };
            let mut lines = vec![format!("{}{ray}", visible(own))];
            if place == 0 {
                lines.push("# when the other machines have joined (ray status):".into());
                lines.push(format!("{partition}{}", serve.join(" ")));
            }
            Script { host: host.clone(), lines }
        };
        facts.hosts.iter().enumerate().map(start).collect()
    } else {
        let line = format!("{}{partition}{}", visible(&facts.stages), serve.join(" "));
        vec![Script { host: facts.hosts[0].0.clone(), lines: vec![line] }]
    };
    let vision = facts.bytes_of(UnitKind::is_vision);
    if vision > 0 && ranks > 1 {
        notes.push(format!(
            "vLLM 0.33 has the vision tower on the first rank alone; older versions, and this one with \
             VLLM_USE_V2_MODEL_RUNNER=0, load it on every rank ({} more on each).",
            bytes::human(vision)
        ));
    }
    notes.push(
        "--gpu-memory-utilization is one share for all GPUs, of their whole memory; what others hold there counts in it."
            .into(),
    );
    notes.push(
        "Checkpoints of the GitHub layout get the prompt of a local run with `eval --image-marks`.".into(),
    );
    notes.extend(facts.tensor_note("--tensor-parallel-size", "--pipeline-parallel-size"));
    facts.finish(Server::Vllm, scripts, notes)
}
