//! The devices to plan for: those of this machine, and simulated ones added, changed and taken away.

use egui::{RichText, TextEdit, Ui};

use super::desk::Desk;
use super::toolbar::{list, name};
use super::{Wish, ask, paint};
use crate::app::Wishes;
use crate::app::language::{fill, tr};
use crate::app::theme::Tokens;
use crate::plan::bytes::{self, human};
use crate::plan::cards::{self, CARDS};
use crate::plan::{Device, DeviceKind};

/// Sizes that cards come in, in GiB.
const SIZES: [u64; 8] = [16, 24, 32, 40, 48, 80, 96, 141];

/// The SPEC of simulated devices, equal neighbours counted. Overhead, others and reserve stand behind it where all
/// devices share them; a SPEC has no words for them apart.
pub fn spec_of(devices: &[Device]) -> String {
    let word = |device: &Device| {
        let known =
            device.card.as_deref().and_then(cards::find).filter(|card| card.memory == device.capacity);
        known.map_or_else(|| size_word(device.capacity), |card| card.name.to_owned())
    };
    let mut runs: Vec<(String, usize)> = Vec::new();
    for device in devices {
        let word = word(device);
        match runs.last_mut() {
            Some((last, count)) if *last == word => *count += 1,
            _ => runs.push((word, 1)),
        }
    }
    let sizes: Vec<String> = runs
        .into_iter()
        .map(|(word, count)| if count > 1 { format!("{count}x{word}") } else { word })
        .collect();
    let mut spec = format!("sim:{}", sizes.join(","));
    for (setting, value) in [
        ("overhead", shared(devices, |device| device.overhead)),
        ("reserve", shared(devices, |device| device.reserve)),
        ("others", shared(devices, |device| device.others)),
    ] {
        spec.extend(value.map(|value| format!(";{setting}={}", size_word(value))));
    }
    spec
}

/// A size that all devices share, unless it is nothing.
fn shared(devices: &[Device], value: impl Fn(&Device) -> u64) -> Option<u64> {
    let first = devices.first().map(&value).filter(|first| *first > 0)?;
    devices.iter().all(|device| value(device) == first).then_some(first)
}

/// A size in the largest unit that says it exactly.
fn size_word(size: u64) -> String {
    match size {
        s if s.is_multiple_of(bytes::GIB) => format!("{}GiB", s / bytes::GIB),
        s if s.is_multiple_of(bytes::MIB) => format!("{}MiB", s / bytes::MIB),
        s => s.to_string(),
    }
}

/// The devices, simulated: what a person changes when it is not hardware.
fn simulated(devices: &[Device]) -> Vec<Device> {
    let gpus = devices.iter().filter(|device| device.is_gpu());
    let copy = |(index, device): (usize, &Device)| Device {
        card: device.card.clone(),
        bandwidth: device.bandwidth,
        flops: device.flops,
        others: device.others,
        overhead: device.overhead,
        reserve: device.reserve,
        ..Device::simulated(index, device.capacity)
    };
    gpus.enumerate().map(copy).collect()
}

/// Devices that a click chooses.
pub fn presets_ui(ui: &mut Ui, wishes: &mut Wishes) {
    let tokens = Tokens::of(ui);
    ui.horizontal(|ui| {
        if ui
            .button(tr("This machine"))
            .on_hover_text(tr("The GPUs that the driver shows, or the CPU"))
            .clicked()
        {
            ask(wishes, Wish::Devices("auto".into()));
        }
        if ui.button(tr("CPU")).clicked() {
            ask(wishes, Wish::Devices("cpu".into()));
        }
        if ui.button(tr("Look again")).on_hover_text(tr("Reads memory and other programs anew")).clicked() {
            ask(wishes, Wish::LookAgain);
        }
    });
    ui.add_space(6.0);
    ui.label(RichText::new(tr("What if I had…")).font(paint::bold(13.5)).color(tokens.strong));
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing = egui::vec2(6.0, 6.0);
        for preset in ["8x40GiB", "4x80GiB", "2x24GiB", "8xH100", "4xA100-80GB", "2xRTX 4090", "1xH200"] {
            let text = preset.replacen('x', " × ", 1).replace("GiB", " GiB");
            if ui.button(RichText::new(text).size(12.5)).clicked() {
                ask(wishes, Wish::Devices(format!("sim:{preset}")));
            }
        }
    });
}

/// The panel.
pub fn ui(ui: &mut Ui, desk: &Desk, spec: &str, field: &mut String, wishes: &mut Wishes) {
    let tokens = Tokens::of(ui);
    presets_ui(ui, wishes);
    ui.add_space(6.0);
    ui.label(RichText::new(tr("Devices as a SPEC")).color(tokens.subdued));
    ui.horizontal(|ui| {
        let width = (ui.available_width() - 64.0).max(80.0);
        let edit = ui.add(TextEdit::singleline(field).desired_width(width).hint_text("sim:8x40GiB"));
        name(&edit, egui::Role::TextInput, tr("Devices as a SPEC"));
        let entered = edit.lost_focus() && ui.input(|i| i.key_pressed(egui::Key::Enter));
        let button = ui.add_enabled(field.trim() != spec, egui::Button::new(tr("Set")));
        if button.clicked() || (entered && field.trim() != spec) {
            ask(wishes, Wish::Devices(field.trim().to_owned()));
        }
    });
    let said = tr("auto, cpu, cuda:0,2, sim:24GiB,80GiB, sim:4xH100;overhead=0.6GiB;reserve=1GiB");
    ui.label(RichText::new(said).small().color(tokens.subdued));
    ui.add_space(8.0);
    list_ui(ui, desk, wishes);
}

/// The devices one by one.
fn list_ui(ui: &mut Ui, desk: &Desk, wishes: &mut Wishes) {
    let tokens = Tokens::of(ui);
    let devices = &desk.ground().found.devices;
    let are_simulated = devices.iter().all(|device| device.kind == DeviceKind::Simulated);
    let set = |wishes: &mut Wishes, devices: &[Device]| ask(wishes, Wish::Devices(spec_of(devices)));
    for (index, device) in devices.iter().enumerate() {
        ui.push_id(index, |ui| {
            ui.horizontal(|ui| {
                let (dot, _) = ui.allocate_exact_size(egui::vec2(10.0, 14.0), egui::Sense::hover());
                ui.painter().circle_filled(dot.center(), 4.0, tokens.device(index));
                let (at, _) = ui.allocate_exact_size(egui::vec2(54.0, 18.0), egui::Sense::hover());
                let font = egui::FontId::proportional(13.5);
                paint::line(
                    ui.painter(),
                    at.left_center(),
                    egui::Align2::LEFT_CENTER,
                    at.width(),
                    &device.name,
                    font,
                    tokens.strong,
                );
                if !are_simulated {
                    ui.label(RichText::new(human(device.capacity)).color(tokens.text));
                    return;
                }
                let title = device.card.clone().unwrap_or_else(|| human(device.capacity));
                let memory = fill("Memory of {}", &[&device.name]);
                let response = list(ui, &memory, &title, 140.0, |ui| {
                    let mut choose = |ui: &mut Ui, text: &str, changed: Device| {
                        if ui.selectable_label(false, text).clicked() {
                            let mut all = simulated(devices);
                            all[index] = changed;
                            set(wishes, &all);
                        }
                    };
                    for gib in SIZES {
                        let sized = Device {
                            card: None,
                            bandwidth: None,
                            flops: None,
                            capacity: gib * bytes::GIB,
                            ..device.clone()
                        };
                        choose(ui, &format!("{gib} GiB"), sized);
                    }
                    for card in CARDS {
                        let named =
                            Device { card: Some(card.name.into()), capacity: card.memory, ..device.clone() };
                        choose(ui, card.name, named);
                    }
                });
                response.on_hover_text(tr("Memory or card of this device"));
                let remove = ui.add_enabled(devices.len() > 1, egui::Button::new(tr("Remove")));
                name(&remove, egui::Role::Button, &fill("remove {}", &[&device.name]));
                if remove.clicked() {
                    let mut all = simulated(devices);
                    all.remove(index);
                    set(wishes, &all);
                }
            });
            if let Some(card) = device.card.as_ref().filter(|_| !are_simulated) {
                ui.label(RichText::new(card).small().color(tokens.subdued));
            }
            if device.others > 0 {
                let text = fill("others hold {}", &[&human(device.others)]);
                ui.label(RichText::new(text).small().color(tokens.subdued));
            }
        });
    }
    ui.add_space(4.0);
    let add = if are_simulated { tr("Add a device") } else { tr("Simulate these and one more") };
    if ui.button(add).clicked() {
        let mut all = simulated(devices);
        let last = all.last().cloned().unwrap_or_else(|| Device::simulated(0, 40 * bytes::GIB));
        all.push(Device { name: format!("sim:{}", all.len()), ..last });
        set(wishes, &all);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::spec::DeviceSpec;

    fn devices(spec: &str) -> Vec<Device> {
        match DeviceSpec::parse(spec).unwrap() {
            DeviceSpec::Simulated(devices) => devices,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_spec_says_the_same_devices_again() {
        for spec in [
            "sim:8x40GiB",
            "sim:24GiB,2x80GiB,24GiB",
            "sim:2xH100 PCIe,L40S",
            "sim:3x1000MiB",
            "sim:2x40GiB;overhead=600MiB;reserve=1GiB;others=2GiB",
            "sim:123456789",
        ] {
            let read = devices(spec);
            assert_eq!(devices(&spec_of(&read)), read, "{spec} became {}", spec_of(&read));
        }
        assert_eq!(spec_of(&devices("sim:40GiB,40GiB,80GiB")), "sim:2x40GiB,80GiB");
    }

    #[test]
    fn real_cards_become_simulated_ones() {
        let real = Device {
            card: Some("NVIDIA H100 80GB HBM3".into()),
            others: 5 << 30,
            ..Device::new("cuda:0", DeviceKind::Cuda, 79 << 30)
        };
        let copy = simulated(&[real.clone(), Device::new("cpu", DeviceKind::Cpu, 1 << 36)]);
        assert_eq!(copy.len(), 1);
        assert_eq!((copy[0].name.as_str(), copy[0].capacity, copy[0].others), ("sim:0", 79 << 30, 5 << 30));
        assert_eq!(spec_of(&copy), "sim:79GiB;others=5GiB", "its own memory, not the data sheet's");
    }
}
