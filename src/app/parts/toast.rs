//! Words for a moment, in a corner: what was done, what went wrong, and sometimes a way back.

use egui::{Align2, Area, Color32, CornerRadius, Frame, Id, Margin, Order, RichText, Stroke, Vec2};

use super::icon::Icon;
use super::problem::sentence;
use crate::Problem;
use crate::app::language::{told, tr};
use crate::app::theme::Tokens;
use crate::app::{Wish, Wishes};

/// Seconds that a word stays; a problem stays longer.
const SECONDS: f64 = 5.0;
const SECONDS_OF_PROBLEMS: f64 = 12.0;
/// Words that stand at the same time; older ones go.
const MOST: usize = 4;

/// A word for a moment.
struct Toast {
    icon: Icon,
    text: String,
    more: Option<String>,
    offer: Option<(String, Wish)>,
    /// When it goes; set when it is first drawn.
    until: Option<f64>,
    seconds: f64,
}

/// The words that stand now.
#[derive(Default)]
pub struct Toasts(Vec<Toast>);

impl Toasts {
    /// Says something.
    pub fn say(&mut self, text: String) {
        self.push(Toast { icon: Icon::Check, text, more: None, offer: None, until: None, seconds: SECONDS });
    }

    /// Tells of a problem that belongs to nothing on the screen.
    pub fn warn(&mut self, problem: &Problem) {
        let text = match &problem.place {
            Some(place) => format!("{} ({})", sentence(&problem.what), told(place)),
            None => sentence(&problem.what),
        };
        let more = problem.fix.as_deref().map(sentence);
        let seconds = SECONDS_OF_PROBLEMS;
        self.push(Toast { icon: Icon::Warning, text, more, offer: None, until: None, seconds });
    }

    /// Says what was done, and offers a wish: the way back.
    pub fn offer(&mut self, text: String, name: String, wish: Wish) {
        let offer = Some((name, wish));
        let seconds = SECONDS_OF_PROBLEMS;
        self.push(Toast { icon: Icon::Check, text, more: None, offer, until: None, seconds });
    }

    fn push(&mut self, toast: Toast) {
        // The same word again does not stand twice.
        self.0.retain(|it| it.text != toast.text);
        self.0.push(toast);
        let over = self.0.len().saturating_sub(MOST);
        self.0.drain(..over);
    }

    /// The texts that stand now.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|toast| toast.text.as_str())
    }

    /// Draws them at the bottom left, where no screen has its buttons; the latest below.
    pub fn show(&mut self, ctx: &egui::Context, wishes: &mut Wishes) {
        if self.0.is_empty() {
            return;
        }
        let now = ctx.input(|input| input.time);
        let mut gone = None;
        let area = Area::new(Id::unique("toasts")).order(Order::Tooltip);
        let shown = area.anchor(Align2::LEFT_BOTTOM, Vec2::new(16.0, -14.0)).show(ctx, |ui| {
            ui.set_width(380.0_f32.min(ctx.content_rect().width() - 32.0));
            for (place, toast) in self.0.iter_mut().enumerate() {
                toast.until.get_or_insert(now + toast.seconds);
                if ui.push_id(place, |ui| toast_ui(ui, toast, wishes)).inner {
                    gone = Some(place);
                }
            }
        });
        if let Some(place) = gone {
            self.0.remove(place);
        }
        if shown.response.contains_pointer() {
            // Nobody loses a word that is being read.
            for toast in &mut self.0 {
                toast.until = toast.until.map(|until| until.max(now + 2.0));
            }
        }
        self.0.retain(|toast| toast.until.is_none_or(|until| until > now));
        let next = self.0.iter().filter_map(|toast| toast.until).fold(f64::INFINITY, f64::min);
        if next.is_finite() {
            ctx.request_repaint_after(std::time::Duration::from_secs_f64((next - now).max(0.05)));
        }
    }
}

/// Draws one; whether it is to go.
fn toast_ui(ui: &mut egui::Ui, toast: &Toast, wishes: &mut Wishes) -> bool {
    let tokens = Tokens::of(ui);
    let color: Color32 = if toast.icon == Icon::Warning { tokens.bad } else { tokens.good };
    let mut gone = false;
    Frame::new()
        .fill(tokens.card)
        .stroke(Stroke::new(1.0, tokens.line))
        .corner_radius(CornerRadius::same(8))
        .shadow(ui.visuals().popup_shadow)
        .inner_margin(Margin::symmetric(12, 10))
        .show(ui, |ui| {
            ui.set_min_width(ui.available_width());
            ui.horizontal_top(|ui| {
                toast.icon.ui(ui, 16.0, color);
                let width = ui.available_width() - 36.0;
                ui.vertical(|ui| {
                    ui.set_width(width);
                    ui.label(RichText::new(&toast.text).color(tokens.strong));
                    if let Some(more) = &toast.more {
                        ui.label(RichText::new(more).color(tokens.text));
                    }
                    if let Some((name, wish)) = &toast.offer
                        && ui.button(name).clicked()
                    {
                        wishes.push(wish.clone());
                        gone = true;
                    }
                });
                gone |= Icon::Cross.button(ui, tr("Close")).clicked();
            });
        });
    ui.add_space(2.0);
    gone
}
