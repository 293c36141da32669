//! A plan as one JSON object, for scripts and sessions. Sizes are bytes, times seconds.

use serde_json::{Map, Value, json};

use super::checks::{Finding, Fix};
use super::cost;
use super::device_map::DeviceMap;
use super::forecast::{self, Forecast, Forecaster};
use super::layout::Plan;
use super::planner::Case;

/// A number, or null where it is not finite.
fn finite(value: f64) -> Value {
    serde_json::Number::from_f64(value).map_or(Value::Null, Value::Number)
}

/// The JSON of `plan --json`. `layout` is the name that was asked for.
pub fn to_json(case: &Case, plan: &Plan, forecast: &Forecast, findings: &[Finding], layout: &str) -> Value {
    let model = &case.model;
    let name = |device: usize| plan.devices.get(device).map_or("?", |d| d.name.as_str());
    let units: Vec<Value> = model
        .units
        .iter()
        .map(|u| {
            json!({
                "name": u.name, "kind": u.kind.word(), "weight_bytes": u.weight_bytes,
                "kv_bytes_per_token": u.kv_bytes_per_token
            })
        })
        .collect();
    let devices: Vec<Value> = plan
        .devices
        .iter()
        .zip(&forecast.devices)
        .map(|(device, f)| {
            let overhead = cost::overhead(device, &case.assumptions);
            json!({
                "name": device.name, "capacity": device.capacity, "usable": f.usable,
                "weights": f.worst.weights, "kv": f.worst.kv, "activation": f.worst.activation, "kept": f.kept,
                "overhead": overhead, "others": device.others, "reserve": device.reserve,
                "loading": f.worst.weights, "peak": f.peak(), "share": finite(f.share), "verdict": f.verdict,
                "binding": f.binding, "card": device.card, "uuid": device.uuid,
                "parts": f.parts.iter().map(|(c, b)| (serde_json::to_value(c).ok().and_then(|v| v.as_str().map(str::to_string)).unwrap_or_default(), Value::from(*b))).collect::<Map<_, _>>(),
            })
        })
        .collect();
    let assignment: Map<String, Value> = model
        .units
        .iter()
        .zip(&plan.assignment)
        .map(|(unit, &device)| (unit.name.clone(), name(device).into()))
        .collect();
    let stages: Vec<Value> = plan
        .runs()
        .iter()
        .map(|run| {
            json!({"device": name(run.device), "first": model.units[run.first].name, "last": model.units[run.last].name})
        })
        .collect();
    let longest: Map<String, Value> = plan
        .devices
        .iter()
        .zip(&forecast.devices)
        .map(|(device, f)| (device.name.clone(), f.longest_answer.map_or(Value::Null, Value::from)))
        .collect();
    let forecaster = Forecaster::new(case);
    let heaviest: Vec<Value> = forecast
        .heaviest
        .iter()
        .map(|&index| {
            let question = &case.workload.questions[index];
            let moments = forecaster.moments(plan, question);
            let peak: Map<String, Value> =
                plan.devices.iter().zip(moments).map(|(d, m)| (d.name.clone(), m.peak().into())).collect();
            json!({
                "id": question.id, "tiles": question.tiles, "prompt_tokens": question.prompt_tokens, "peak": peak,
                "share": finite(forecast.questions[index].share), "verdict": forecast.questions[index].verdict,
            })
        })
        .collect();
    let worst_question =
        forecast.heaviest.first().map(|&i| &case.workload.questions[i]).or(case.workload.frontier.first());
    json!({
        "model": model.shape.name,
        "dtype": model.dtype.name(),
        "weight_bytes": model.weight_bytes(),
        "parameters": model.parameters(),
        "kv_bytes_per_token": model.kv_bytes_per_token(),
        "runnable": model.shape.runnable,
        "units": units,
        "devices": devices,
        "assignment": assignment,
        "stages": stages,
        "hops": plan.hops(),
        "layout": layout,
        "exact": plan.exact,
        "worst_share": finite(forecast.worst_share),
        "fits": forecast.verdict != forecast::Verdict::DoesNotFit,
        "verdict": forecast.verdict,
        "longest_answer_tokens": {"overall": forecast.longest_answer, "devices": longest},
        "questions": {
            "scanned": forecast.questions.len(),
            "fit": forecast.counts[0] + forecast.counts[1],
            "tight": forecast.counts[1],
            "do_not_fit": forecast.counts[2],
            "heaviest": heaviest,
            "histogram": forecast.histogram,
            "assumed": case.workload.questions.is_empty().then_some(&case.workload.frontier),
        },
        "seconds": worst_question.and_then(|q| forecast::seconds(case, plan, q)),
        "host": forecast::host(case, plan),
        "assumptions": case.assumption_lines().iter()
            .map(|(name, value, source)| json!({"name": name, "value": value, "source": source})).collect::<Vec<_>>(),
        "findings": findings.iter().map(finding).collect::<Vec<_>>(),
        "hf_device_map": DeviceMap::of(plan, model).to_json(),
    })
}

/// A finding as JSON.
pub fn finding(finding: &Finding) -> Value {
    let fix = |fix: &Fix| {
        json!({
            "what": fix.what,
            "worst_share": fix.outcome.map(|o| finite(o.worst_share)),
            "verdict": fix.outcome.map(|o| o.verdict),
            "changes_results": fix.changes_results,
        })
    };
    json!({
        "severity": finding.severity,
        "code": finding.code,
        "message": finding.message,
        "fixes": finding.fixes.iter().map(fix).collect::<Vec<_>>(),
    })
}
