//! Colours, sizes and fonts. Drawing code asks [`Tokens::of`]; nothing else in the window names a colour.

// This is where colours are named.
#![allow(clippy::disallowed_methods)]

use std::sync::Arc;

use egui::{Color32, CornerRadius, FontData, FontDefinitions, FontFamily, FontId, Stroke, TextStyle, Theme};

use crate::scoring::Verdict;

/// The palette of one theme.
#[derive(Debug)]
pub struct Tokens {
    /// Top bar and navigation.
    pub bar: Color32,
    /// Side panels.
    pub panel: Color32,
    /// Behind everything.
    pub canvas: Color32,
    /// Cards on the canvas.
    pub card: Color32,
    /// A card under the pointer, a chosen row.
    pub raised: Color32,
    /// Fields for text.
    pub field: Color32,
    /// Hairlines.
    pub line: Color32,
    /// Ordinary text.
    pub text: Color32,
    /// Text of lesser weight.
    pub subdued: Color32,
    /// Headings and figures.
    pub strong: Color32,
    /// What can be acted on.
    pub accent: Color32,
    /// Text on the accent.
    pub on_accent: Color32,
    /// Right, fits.
    pub good: Color32,
    /// Tight, unparsed.
    pub warning: Color32,
    /// Wrong, does not fit.
    pub bad: Color32,
    /// Under menus and windows.
    pub shadow: Color32,
    /// One a device, in order.
    pub devices: [Color32; 8],
    /// Parts of a device's memory: weights, keys and values, activations, kept for later, overhead, other processes,
    /// reserve.
    pub memory: [Color32; 7],
    /// Kinds of units: vision, projector, embedding, decoder layer, head.
    pub kinds: [Color32; 5],
}

const fn hex(rgb: u32) -> Color32 {
    Color32::from_rgb((rgb >> 16) as u8, (rgb >> 8) as u8, rgb as u8)
}

/// Okabe and Ito's palette (<https://jfly.uni-koeln.de/color/>): told apart by colour-blind people too.
const DEVICES: [Color32; 8] = [
    hex(0x56_B4_E9),
    hex(0xE6_9F_00),
    hex(0x00_9E_73),
    hex(0xCC_79_A7),
    hex(0x00_72_B2),
    hex(0xD5_5E_00),
    hex(0xF0_E4_42),
    hex(0x99_99_99),
];

const DARK: Tokens = Tokens {
    bar: hex(0x10_12_14),
    panel: hex(0x16_18_1B),
    canvas: hex(0x0C_0D_0F),
    card: hex(0x1B_1E_22),
    raised: hex(0x25_29_2F),
    field: hex(0x13_15_18),
    line: hex(0x2E_33_3A),
    text: hex(0xC9_CE_D6),
    subdued: hex(0x8B_93_9F),
    strong: hex(0xF4_F6_F8),
    accent: hex(0x3B_82_F6),
    on_accent: hex(0xFF_FF_FF),
    good: hex(0x3F_C3_8A),
    warning: hex(0xF5_B3_3D),
    bad: hex(0xF2_6D_5F),
    shadow: Color32::from_black_alpha(120),
    devices: DEVICES,
    memory: [
        hex(0x3E_7F_C8),
        hex(0x2F_9E_8F),
        hex(0xD9_8A_2B),
        hex(0x8A_A8_3C),
        hex(0x6B_72_7E),
        hex(0x9A_5F_A8),
        hex(0x3A_3F_47),
    ],
    kinds: [hex(0x8B_6F_E8), hex(0xD9_5F_9C), hex(0x1F_9C_92), hex(0x4B_7B_B8), hex(0xCE_6A_3A)],
};

const LIGHT: Tokens = Tokens {
    bar: hex(0xFF_FF_FF),
    panel: hex(0xF7_F8_FA),
    canvas: hex(0xED_EF_F3),
    card: hex(0xFF_FF_FF),
    raised: hex(0xE6_EA_F1),
    field: hex(0xF5_F7_FA),
    line: hex(0xD9_DD_E3),
    text: hex(0x2B_30_38),
    subdued: hex(0x66_6E_7A),
    strong: hex(0x0C_0E_11),
    accent: hex(0x25_63_EB),
    on_accent: hex(0xFF_FF_FF),
    good: hex(0x0E_7A_4F),
    warning: hex(0xA8_5A_00),
    bad: hex(0xC0_2A_1D),
    shadow: Color32::from_black_alpha(40),
    devices: DEVICES,
    memory: [
        hex(0x4C_8F_DB),
        hex(0x3D_B0_A0),
        hex(0xE8_A0_40),
        hex(0xA3_BF_55),
        hex(0x9A_A2_AE),
        hex(0xB0_7A_BE),
        hex(0xCD_D3_DB),
    ],
    kinds: [hex(0x7C_5F_DD), hex(0xC9_4A_8A), hex(0x12_88_7F), hex(0x3B_6C_AB), hex(0xBE_58_28)],
};

impl Tokens {
    /// The palette of the present theme.
    pub fn of(ctx: &egui::Context) -> &'static Self {
        Self::of_theme(ctx.theme())
    }

    fn of_theme(theme: Theme) -> &'static Self {
        match theme {
            Theme::Dark => &DARK,
            Theme::Light => &LIGHT,
        }
    }

    /// The colour of a device by its place.
    pub fn device(&self, place: usize) -> Color32 {
        self.devices[place % self.devices.len()]
    }

    /// The colour of a verdict.
    pub fn verdict(&self, verdict: Verdict) -> Color32 {
        match verdict {
            Verdict::Right => self.good,
            Verdict::Wrong => self.bad,
            Verdict::Unparsed => self.warning,
            Verdict::Failed | Verdict::OutOfMemory => self.bad,
            Verdict::Unscored => self.subdued,
        }
    }
}

/// Headings stand in a heavier cut.
pub const SEMIBOLD: &str = "semibold";

/// The family of headings.
pub fn semibold() -> FontFamily {
    FontFamily::Name(SEMIBOLD.into())
}

/// The style of a screen's heading.
pub fn title() -> TextStyle {
    TextStyle::Name("title".into())
}

/// The style of a heading within a card.
pub fn section() -> TextStyle {
    TextStyle::Name("section".into())
}

/// The style of the one figure that a card is about.
pub fn figure() -> TextStyle {
    TextStyle::Name("figure".into())
}

/// The three shards of the program's mark: height as a share of the whole, and colour.
pub fn mark(ctx: &egui::Context) -> [(f32, Color32); 3] {
    shards(Tokens::of(ctx))
}

fn shards(tokens: &Tokens) -> [(f32, Color32); 3] {
    [(0.55, tokens.kinds[0]), (1.0, tokens.accent), (0.75, tokens.kinds[2])]
}

/// The mark as the window system shows it, 64 by 64 pixels.
pub fn window_icon() -> egui::IconData {
    const SIDE: usize = 64;
    let mut rgba = vec![0; SIDE * SIDE * 4];
    for (place, (height, color)) in shards(&DARK).into_iter().enumerate() {
        let left = 4 + 20 * place;
        let top = SIDE - 4 - (height * (SIDE - 8) as f32) as usize;
        for y in top..SIDE - 4 {
            for x in left..left + 16 {
                let at = (y * SIDE + x) * 4;
                rgba[at..at + 4].copy_from_slice(&color.to_array());
            }
        }
    }
    egui::IconData { rgba, width: SIDE as u32, height: SIDE as u32 }
}

/// Puts fonts and both themes into a context.
pub fn install(ctx: &egui::Context) {
    ctx.set_fonts(fonts());
    for theme in [Theme::Dark, Theme::Light] {
        ctx.style_mut_of(theme, |style| apply(style, Tokens::of_theme(theme)));
    }
}

/// Latin letters, then Chinese, Japanese and Korean, for machines without such fonts and the same pixels in every test; what
/// comes with egui stands behind them, since its symbols have full-width brackets and marks that are far too bold.
fn fonts() -> FontDefinitions {
    const CJK: &str = "Noto Sans CJK SC (subset)";
    let mut fonts = FontDefinitions::default();
    let files: [(&str, &'static [u8]); 3] = [
        ("Inter", include_bytes!("../../assets/fonts/Inter-Regular.otf")),
        (SEMIBOLD, include_bytes!("../../assets/fonts/Inter-Medium.otf")),
        (CJK, include_bytes!("../../assets/fonts/NotoSansCJKsc-subset.otf")),
    ];
    for (name, bytes) in files {
        fonts.font_data.insert(name.into(), Arc::new(FontData::from_static(bytes)));
    }
    let own = |first: &str| [first.to_owned(), CJK.to_owned()];
    fonts.families.entry(FontFamily::Proportional).or_default().splice(0..0, own("Inter"));
    let monospace = fonts.families.entry(FontFamily::Monospace).or_default();
    monospace.insert(1.min(monospace.len()), CJK.to_owned());
    let mut semibold = own(SEMIBOLD).to_vec();
    semibold.extend(fonts.families[&FontFamily::Proportional].iter().skip(2).cloned());
    fonts.families.insert(FontFamily::Name(SEMIBOLD.into()), semibold);
    fonts
}

fn apply(style: &mut egui::Style, tokens: &Tokens) {
    let sized = |name, size| (name, FontId::new(size, FontFamily::Proportional));
    style.text_styles = [
        sized(TextStyle::Small, 11.5),
        sized(TextStyle::Body, 13.5),
        sized(TextStyle::Button, 13.5),
        (TextStyle::Heading, FontId::new(15.5, semibold())),
        (title(), FontId::new(20.0, semibold())),
        (section(), FontId::new(12.0, semibold())),
        (figure(), FontId::new(30.0, semibold())),
        (TextStyle::Monospace, FontId::new(12.5, FontFamily::Monospace)),
    ]
    .into_iter()
    .collect();
    style.scroll_animation = egui::style::ScrollAnimation::none();
    style.spacing.item_spacing = egui::vec2(8.0, 6.0);
    style.spacing.button_padding = egui::vec2(12.0, 5.0);
    style.spacing.interact_size.y = 28.0;
    style.spacing.scroll.bar_width = 6.0;
    style.spacing.menu_margin = egui::Margin::same(8);
    style.spacing.window_margin = egui::Margin::same(18);
    style.spacing.icon_width = 16.0;
    style.spacing.icon_width_inner = 8.0;

    let visuals = &mut style.visuals;
    visuals.panel_fill = tokens.panel;
    visuals.window_fill = tokens.card;
    visuals.window_stroke = Stroke::new(1.0, tokens.line);
    visuals.window_corner_radius = CornerRadius::same(8);
    visuals.menu_corner_radius = CornerRadius::same(6);
    let shadow = egui::Shadow { offset: [0, 8], blur: 28, spread: 0, color: tokens.shadow };
    visuals.window_shadow = shadow;
    visuals.popup_shadow = shadow;
    visuals.extreme_bg_color = tokens.canvas;
    visuals.faint_bg_color = tokens.raised;
    visuals.code_bg_color = tokens.raised;
    visuals.selection.bg_fill = tokens.accent.gamma_multiply(0.35);
    visuals.selection.stroke = Stroke::new(1.5, tokens.accent);
    visuals.hyperlink_color = tokens.accent;
    visuals.text_edit_bg_color = Some(tokens.field);
    // A blinking cursor would draw twice a second though nothing happens.
    visuals.text_cursor.blink = false;
    visuals.error_fg_color = tokens.bad;
    visuals.warn_fg_color = tokens.warning;
    let widgets = &mut visuals.widgets;
    widgets.noninteractive.bg_stroke = Stroke::new(1.0, tokens.line);
    widgets.noninteractive.fg_stroke.color = tokens.text;
    widgets.inactive.fg_stroke.color = tokens.text;
    widgets.hovered.fg_stroke.color = tokens.strong;
    widgets.active.fg_stroke.color = tokens.strong;
    widgets.open.fg_stroke.color = tokens.strong;
    for widget in [&mut widgets.inactive, &mut widgets.hovered, &mut widgets.active, &mut widgets.open] {
        widget.bg_stroke = Stroke::NONE;
        widget.corner_radius = CornerRadius::same(6);
        widget.expansion = 0.0;
    }
    widgets.inactive.weak_bg_fill = tokens.raised;
    widgets.inactive.bg_fill = tokens.line;
    widgets.hovered.weak_bg_fill = tokens.line;
    widgets.hovered.bg_fill = tokens.line;
    widgets.active.weak_bg_fill = tokens.accent.gamma_multiply(0.6);
    widgets.active.bg_fill = tokens.accent.gamma_multiply(0.6);
    widgets.open.weak_bg_fill = tokens.line;
    // The focus can be seen.
    widgets.active.bg_stroke = Stroke::new(1.5, tokens.accent);
}
