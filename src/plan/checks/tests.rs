//! Every finding, and fixes that help.

use super::*;
use crate::plan::assumptions::{Assumptions, Dtype};
use crate::plan::bytes::GIB;
use crate::plan::forecast::Verdict;
use crate::plan::planner;
use crate::plan::presets::Rule;
use crate::plan::workload::Workload;
use crate::plan::{Device, Layout, Model, QuestionCost, catalogue};

fn case(name: &str, gpus: usize, gib: u64) -> Case {
    let model = Model::new(catalogue::find(name).unwrap(), Dtype::Bf16, None);
    let devices = (0..gpus).map(|i| Device::simulated(i, gib * GIB)).collect();
    let questions = [("light", 13), ("heavy", 70)].map(|(id, tiles)| QuestionCost {
        id: id.into(),
        tiles,
        prompt_tokens: tiles * 256 + 150,
        ..QuestionCost::default()
    });
    Case::new(model, devices, Assumptions::default(), Workload::new(questions.to_vec()))
}

fn judge(case: &Case, plan: &Plan) -> Vec<Finding> {
    check(case, plan, &Forecaster::new(case).forecast(plan))
}

fn codes(findings: &[Finding]) -> Vec<&str> {
    findings.iter().map(|f| f.code).collect()
}

#[test]
fn our_plan_has_nothing_to_hide() {
    let case = case("InternVL3-78B", 8, 40);
    let plan = planner::plan(&case, Layout::Auto).unwrap();
    assert_eq!(codes(&judge(&case, &plan)), Vec::<&str>::new());
}

#[test]
fn the_released_rule_is_explained_and_mended() {
    let case = case("InternVL2-Llama3-76B", 8, 40);
    let released = case.with_assumptions(case.assumptions.clone().as_released());
    let plan = planner::plan(&released, Layout::Rule(Rule::InternVl)).unwrap();
    let findings = judge(&released, &plan);
    let over = findings.iter().find(|f| f.code == "over-capacity").unwrap();
    assert!(
        over.message.contains("sim:0") && over.message.contains("heavy") && over.message.contains("logits"),
        "{}",
        over.message
    );
    assert!(over.message.contains("1 of 2 questions"));
    let what: Vec<&str> = over.fixes.iter().map(|f| f.what.as_str()).collect();
    assert!(what.iter().any(|w| w.contains("last position")), "{what:?}");
    assert!(
        over.fixes.iter().filter(|f| f.outcome.is_some_and(|o| o.verdict != Verdict::DoesNotFit)).count()
            >= 3
    );
    // What changes the results stands after everything that does not.
    let first_harmful = over.fixes.iter().position(|f| f.changes_results).unwrap();
    assert!(over.fixes[first_harmful..].iter().all(|f| f.changes_results));
    let all = codes(&findings);
    assert!(
        all.contains(&"phantom-layer") && all.contains(&"extra-hops") && all.contains(&"past-positions"),
        "{all:?}"
    );
}

#[test]
fn a_missing_rotary_table_is_the_known_crash() {
    let case = case("InternVL3-8B", 2, 24);
    let plan = planner::plan(&case, Layout::Auto).unwrap();
    let mut map = DeviceMap::of(&plan, &case.model);
    map.entries.retain(|(name, _)| !name.ends_with("rotary_emb"));
    let (_, _, findings) = check_map(&case, &map);
    let finding = findings.iter().find(|f| f.code == "uncovered-buffer").unwrap();
    assert_eq!(finding.severity, Severity::Error);
    assert!(finding.message.contains("Expected all tensors to be on the same device"));
    assert!(finding.message.contains("language_model.model.rotary_emb"));
}

#[test]
fn cut_blocks_host_layers_and_tied_heads_are_found() {
    let case = case("InternVL3-8B", 2, 24);
    let plan = planner::plan(&case, Layout::Auto).unwrap();
    let text = serde_json::to_string(&DeviceMap::of(&plan, &case.model).to_json()).unwrap();
    let cut = text.replacen("\"language_model.model.layers.3\":", "\"language_model.model.layers.3.mlp\":1,\"language_model.model.layers.3.self_attn\":0,\"language_model.model.layers.3\":", 1);
    let (_, _, findings) = check_map(&case, &DeviceMap::parse(&cut).unwrap());
    assert!(codes(&findings).contains(&"unit-cut"), "{findings:?}");
    let offloaded =
        text.replacen("\"language_model.model.layers.9\":0", "\"language_model.model.layers.9\":\"cpu\"", 1);
    let (_, _, findings) = check_map(&case, &DeviceMap::parse(&offloaded).unwrap());
    let all = codes(&findings);
    assert!(all.contains(&"offloaded-between") && all.contains(&"extra-hops"), "{all:?}");

    let mut shape = catalogue::find("InternVL3-2B").unwrap();
    shape.decoder.tied = true;
    let model = Model::new(shape, Dtype::Bf16, None);
    let case = Case::new(model, case.devices, case.assumptions, case.workload);
    let mut plan = planner::plan(&case, Layout::Single).unwrap();
    *plan.assignment.last_mut().unwrap() = 1;
    assert!(codes(&judge(&case, &plan)).contains(&"tied-apart"));
}

#[test]
fn mig_slices_do_not_add_up() {
    let mut case = case("InternVL3-8B", 2, 40);
    case.devices[0].mig = true;
    case.devices[1].mig = true;
    let mut plan = planner::plan(&case, Layout::Auto).unwrap();
    assert_eq!(plan.runs().len(), 1, "ours uses one slice");
    assert!(!codes(&judge(&case, &plan)).contains(&"mig"));
    let half = plan.assignment.len() / 2;
    plan.assignment[half..].fill(1);
    assert!(codes(&judge(&case, &plan)).contains(&"mig"));
}

#[test]
fn a_neighbour_is_worth_mentioning() {
    let mut case = case("InternVL3-14B", 1, 40);
    case.devices[0].others = 12 * GIB;
    let plan = planner::plan(&case, Layout::Auto).unwrap();
    let findings = judge(&case, &plan);
    let over = findings.iter().find(|f| f.code == "over-capacity").unwrap();
    assert!(
        over.fixes.iter().any(|f| f.what.contains("end what else runs on sim:0 (12.0 GiB)")),
        "{:?}",
        over.fixes
    );
}
