//! Commands say what the plan says, as the engines read them; the rest is said in words.

use super::*;
use crate::plan::spec::DeviceSpec;
use crate::plan::unit::UnitKind;
use crate::plan::{Assumptions, Layout, Model, Workload, catalogue, exchange, planner};

fn case(model: &str, spec: &str) -> Case {
    let DeviceSpec::Simulated(devices) = DeviceSpec::parse(spec).unwrap() else { panic!() };
    let shape = catalogue::find(model).unwrap();
    let dtype = shape.stored;
    Case::new(Model::new(shape, dtype, None), devices, Assumptions::default(), Workload::assumed(13, 3600))
}

fn made(server: Server, case: &Case) -> (Plan, Launch) {
    let plan = planner::plan(case, Layout::Auto).unwrap();
    let launch = launch(server, case, &plan, "org/a model").unwrap();
    (plan, launch)
}

/// The GPU of each layer.
fn layers(case: &Case, plan: &Plan) -> Vec<usize> {
    let units = case.model.units.iter().zip(&plan.assignment);
    units.filter(|(unit, _)| matches!(unit.kind, UnitKind::Layer(_))).map(|(_, &d)| d).collect()
}

/// The words behind an option or an equals sign.
fn value<'a>(line: &'a str, name: &str) -> &'a str {
    let at = line.find(name).unwrap_or_else(|| panic!("{name} in {line}")) + name.len();
    line[at..].trim_start().split(' ').next().unwrap()
}

#[test]
fn stages_are_those_of_the_plan() {
    let case = case("InternVL2-Llama3-76B", "sim:8x40GiB");
    for (server, variable) in
        [(Server::Vllm, "VLLM_PP_LAYER_PARTITION="), (Server::Sglang, "SGLANG_PP_LAYER_PARTITION=")]
    {
        let (plan, launch) = made(server, &case);
        let line = &launch.scripts[0].lines[0];
        let counts: Vec<usize> =
            value(line, variable).split(',').map(|count| count.parse().unwrap()).collect();
        let gpus: Vec<usize> =
            value(line, "CUDA_VISIBLE_DEVICES=").split(',').map(|gpu| gpu.parse().unwrap()).collect();
        let said: Vec<usize> = gpus.iter().zip(&counts).flat_map(|(&gpu, &count)| vec![gpu; count]).collect();
        assert_eq!(said, layers(&case, &plan), "{line}");
        assert!(line.contains("'org/a model'") && launch.evaluate.contains("'org/a model'"), "{line}");
    }
}

#[test]
fn llama_cpp_reads_the_shares_as_they_are_meant() {
    for (model, spec) in [("InternVL2-Llama3-76B", "sim:8x40GiB"), ("InternVL3-8B", "sim:12GiB,24GiB,16GiB")]
    {
        let case = case(model, spec);
        let (plan, launch) = made(Server::LlamaCpp, &case);
        let line = &launch.scripts[0].lines[0];
        let read = exchange::from_tensor_split(value(line, "--tensor-split"), &case).unwrap();
        let gpus: Vec<usize> =
            value(line, "CUDA_VISIBLE_DEVICES=").split(',').map(|gpu| gpu.parse().unwrap()).collect();
        let read: Vec<usize> = layers(&case, &read).into_iter().map(|place| gpus[place]).collect();
        assert_eq!(read, layers(&case, &plan), "{line}");
    }
}

#[test]
fn machines_get_their_own_lines() {
    let case = case("InternVL2-Llama3-76B", "sim:alpha(4x40GiB),beta(4x40GiB)");
    let (plan, launch) = made(Server::Vllm, &case);
    // The network is crossed once.
    let hosts: Vec<&str> = layers(&case, &plan)
        .iter()
        .map(|&device| plan.devices[device].host.as_ref().unwrap().name.as_str())
        .collect();
    assert_eq!(hosts.windows(2).filter(|pair| pair[0] != pair[1]).count(), 1, "{hosts:?}");
    let [head, other] = launch.scripts.as_slice() else { panic!("{launch:?}") };
    assert!(head.lines[0].contains("ray start --head") && other.lines.len() == 1, "{launch:?}");
    assert!(other.lines[0].contains(&format!("--address={}:6379", head.host.as_deref().unwrap())));
    assert!(head.lines[2].contains("--distributed-executor-backend ray"), "{launch:?}");
    assert!(launch.notes.iter().any(|note| note.contains("--tensor-parallel-size 4")), "{launch:?}");
    let (_, launch) = made(Server::Sglang, &case);
    assert!(launch.scripts[1].lines[0].contains("--nnodes 2 --node-rank 1"), "{launch:?}");
    let (_, launch) = made(Server::LlamaCpp, &case);
    assert!(launch.scripts[0].lines.iter().all(|line| line.contains("rpc-server")), "{launch:?}");
    let (_, launch) = made(Server::Lmdeploy, &case);
    assert!(launch.scripts.len() == 1 && launch.cannot.iter().any(|it| it.contains("no stages")));
}

#[test]
fn what_cannot_be_said_is_said_in_words() {
    let case = case("InternVL2-Llama3-76B", "sim:8x40GiB");
    let plan = planner::plan(&case, Layout::Auto).unwrap();
    let mut torn = plan.clone();
    let first = case.model.position(UnitKind::Layer(0)).unwrap();
    torn.assignment[first + 1] = 7;
    let head = case.model.position(UnitKind::Head).unwrap();
    torn.assignment[head] = 0;
    let said = launch(Server::Vllm, &case, &torn, "m").unwrap().text();
    for words in ["do not follow one another", "head on the last rank", "on every rank"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let small = self::case("InternVL2-Llama3-76B", "sim:2x40GiB");
    let (_, tight) = made(Server::Vllm, &small);
    assert!(tight.cannot.iter().any(|it| it.contains("would not fit")), "{tight:?}");
    let mut nowhere = plan;
    nowhere.devices.push(crate::plan::Device::new("cpu", crate::plan::DeviceKind::Cpu, 1 << 50));
    nowhere.assignment.fill(8);
    assert!(launch(Server::Vllm, &case, &nowhere, "m").is_err());
}

#[test]
fn names_and_words() {
    for server in Server::ALL {
        assert_eq!(server.name().parse::<Server>().unwrap(), server);
    }
    assert!("ollama".parse::<Server>().is_err());
    assert_eq!((quoted("a/b-1.gguf"), quoted("it's")), ("a/b-1.gguf".into(), "'it'\\''s'".into()));
}
