//! The keys that work wherever the focus is: one table for the keyboard, tooltips and the list of them.

use egui::{Context, Key, KeyboardShortcut, Modifiers};

use super::language::tr;
use super::{Screen, Wish, Wishes, setup};

/// A key and what it asks for.
pub struct Shortcut {
    /// The keys.
    pub keys: KeyboardShortcut,
    /// What it does, in English.
    pub name: &'static str,
    /// The screen on which it works; everywhere where none is said.
    pub on: Option<Screen>,
    /// Whether it works while a text is being edited.
    pub while_typing: bool,
    /// What it asks for.
    pub wish: fn() -> Wish,
}

const fn command(key: Key) -> KeyboardShortcut {
    KeyboardShortcut::new(Modifiers::COMMAND, key)
}

const fn command_shift(key: Key) -> KeyboardShortcut {
    KeyboardShortcut::new(Modifiers::COMMAND.plus(Modifiers::SHIFT), key)
}

/// Begins a run.
pub const START: KeyboardShortcut = command(Key::Enter);
/// Opens a checkpoint.
pub const OPEN_CHECKPOINT: KeyboardShortcut = command(Key::O);
/// Opens a dataset.
pub const OPEN_DATASET: KeyboardShortcut = command_shift(Key::O);
/// Shows the keys.
pub const SHOW_KEYS: KeyboardShortcut = KeyboardShortcut::new(Modifiers::NONE, Key::F1);
/// Light or dark.
pub const TURN_THEME: KeyboardShortcut = command_shift(Key::L);

const fn go(key: Key, name: &'static str, wish: fn() -> Wish) -> Shortcut {
    Shortcut { keys: command(key), name, on: None, while_typing: true, wish }
}

/// All of them; where two share a key, the one with more modifiers stands first.
pub static TABLE: &[Shortcut] = &[
    go(Key::Num1, "Setup", || Wish::Go(Screen::Setup)),
    go(Key::Num2, "Layout", || Wish::Go(Screen::Board)),
    go(Key::Num3, "Run", || Wish::Go(Screen::Run)),
    go(Key::Num4, "Results", || Wish::Go(Screen::Results)),
    go(Key::Num5, "Sessions", || Wish::Go(Screen::Sessions)),
    go(Key::Num6, "Ask", || Wish::Go(Screen::Ask)),
    Shortcut {
        keys: OPEN_DATASET,
        name: "Open a dataset",
        on: None,
        while_typing: true,
        wish: || setup::pick_dataset(),
    },
    Shortcut {
        keys: OPEN_CHECKPOINT,
        name: "Open a checkpoint",
        on: None,
        while_typing: true,
        wish: || setup::pick_checkpoint(),
    },
    Shortcut { keys: START, name: "Start the run", on: None, while_typing: true, wish: || Wish::Start },
    Shortcut {
        keys: TURN_THEME,
        name: "Light or dark",
        on: None,
        while_typing: true,
        wish: || Wish::TurnTheme,
    },
    Shortcut {
        keys: command(Key::Q),
        name: "Close the window",
        on: None,
        while_typing: true,
        wish: || Wish::Close,
    },
    Shortcut { keys: SHOW_KEYS, name: "Keys", on: None, while_typing: true, wish: || Wish::ShowKeys },
];

/// Keys that a screen takes itself, since they depend on what is marked there: listed, not consumed here. The screen,
/// the keys in words, and what they do in English.
pub static ON_SCREENS: &[(Screen, &str, &str)] = &[
    (Screen::Setup, "Enter", "Open the path, ask the server of the address"),
    (Screen::Board, "Ctrl+Z, Ctrl+Shift+Z", "Undo and redo"),
    (Screen::Board, "Shift, Ctrl", "Mark a range, mark several"),
    (Screen::Board, "Ctrl+A, Esc", "Mark all, mark none"),
    (Screen::Board, "← → ↑ ↓", "From chip to chip; a boundary is pulled by ← →"),
    (Screen::Board, "Alt+← →", "Move what is marked to the device beside"),
    (Screen::Board, "P", "Pin or unpin"),
    (Screen::Run, "← →", "Through the questions that were shown"),
    (Screen::Run, "End", "Follow the latest question"),
    (Screen::Run, "Space", "Pause, go on"),
    (Screen::Run, "+ −", "Make the picture larger or smaller, where it has the focus"),
    (Screen::Results, "↑ ↓, PgUp PgDn", "Through the answers, twenty at once"),
    (Screen::Results, "Home, End", "The first answer, the last one"),
    (Screen::Results, "/, Ctrl+F", "Search"),
    (Screen::Results, "P", "Present the answer full screen"),
    (Screen::Sessions, "↑ ↓", "Through the sessions"),
    (Screen::Sessions, "/, Ctrl+F", "Search"),
    (Screen::Sessions, "Enter", "Open the results"),
    (Screen::Sessions, "F2", "Give it a name"),
    (Screen::Sessions, "Del", "Move to the trash"),
    (Screen::Ask, "Enter, Shift+Enter", "Ask the question, begin a new line"),
    (Screen::Present, "← →", "The answer before, the next one"),
    (Screen::Present, "Space, Esc", "Reveal the answer, leave"),
];

/// Whether a person wants to search on this screen. To be asked behind the field, which would take the `/` else.
pub fn seeks(ctx: &Context) -> bool {
    if ctx.text_edit_focused() || egui::Popup::is_any_open(ctx) {
        return false;
    }
    let slash = ctx.input(|input| input.modifiers.is_none() && input.key_pressed(Key::Slash));
    slash || ctx.input_mut(|input| input.consume_shortcut(&command(Key::F)))
}

/// Takes the keys of this frame.
pub fn take(ctx: &Context, screen: Screen, wishes: &mut Wishes) {
    let is_typing = ctx.text_edit_focused();
    for shortcut in TABLE {
        let is_here = shortcut.on.is_none_or(|on| on == screen) && (shortcut.while_typing || !is_typing);
        if is_here && ctx.input_mut(|input| input.consume_shortcut(&shortcut.keys)) {
            wishes.push((shortcut.wish)());
        }
    }
}

/// The keys as the keyboard of this machine shows them, for a tooltip.
pub fn keys(ctx: &Context, shortcut: &KeyboardShortcut) -> String {
    ctx.format_shortcut(shortcut)
}

/// Adds what a control does and its keys as a tooltip.
pub fn tip(response: egui::Response, text: &'static str, shortcut: &KeyboardShortcut) -> egui::Response {
    let keys = keys(&response.ctx, shortcut);
    response.on_hover_text(format!("{} ({keys})", tr(text)))
}
