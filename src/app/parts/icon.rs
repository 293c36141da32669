//! Icons, drawn as strokes: sharp at every scale, in the colour of the text beside them, in need of no font.

use egui::{Atom, Color32, Painter, Pos2, Rect, Response, Role, Sense, Shape, Stroke, Ui, Vec2, WidgetInfo};

/// An icon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Icon {
    /// Done, right.
    Check,
    /// Wrong; close.
    Cross,
    /// Take care.
    Warning,
    /// To know.
    Info,
    /// A folder on disk.
    Folder,
    /// A file on disk.
    File,
    /// Search.
    Search,
    /// Begin, go on.
    Play,
    /// Wait.
    Pause,
    /// End.
    Stop,
    /// Delete.
    Trash,
    /// Rename.
    Pencil,
    /// Write to a file.
    Export,
    /// Two beside each other.
    Compare,
    /// Further choices.
    More,
    /// Light theme.
    Sun,
    /// Dark theme.
    Moon,
    /// Theme of the system.
    Screen,
    /// Language.
    Globe,
    /// Read again; back to the default.
    Refresh,
    /// Add.
    Plus,
    /// Before.
    Left,
    /// After.
    Right,
    /// Below; opens a list.
    Down,
    /// A picture.
    Picture,
    /// Keys.
    Keyboard,
    /// A layout of units over devices.
    Layout,
}

/// The side of the square in which icons are described.
const GRID: f32 = 16.0;

/// What an icon is drawn of, on a grid of 16 by 16.
enum Part {
    Line(&'static [(f32, f32)]),
    Filled(&'static [(f32, f32)]),
    Circle(f32, f32, f32),
    Dot(f32, f32, f32),
}

impl Icon {
    fn parts(self) -> &'static [Part] {
        use Part::{Circle, Dot, Filled, Line};
        match self {
            Self::Check => &[Line(&[(3.0, 8.5), (6.5, 12.0), (13.0, 4.5)])],
            Self::Cross => &[Line(&[(4.0, 4.0), (12.0, 12.0)]), Line(&[(12.0, 4.0), (4.0, 12.0)])],
            Self::Warning => &[
                Line(&[(8.0, 2.2), (14.2, 13.2), (1.8, 13.2), (8.0, 2.2), (14.2, 13.2)]),
                Line(&[(8.0, 6.5), (8.0, 9.3)]),
                Dot(8.0, 11.3, 0.8),
            ],
            Self::Info => &[Circle(8.0, 8.0, 6.2), Line(&[(8.0, 7.4), (8.0, 11.2)]), Dot(8.0, 5.0, 0.8)],
            Self::Folder => &[Line(&[
                (1.8, 4.5),
                (1.8, 13.0),
                (14.2, 13.0),
                (14.2, 5.2),
                (7.8, 5.2),
                (6.3, 3.4),
                (1.8, 3.4),
                (1.8, 6.0),
            ])],
            Self::File => &[Line(&[
                (9.5, 1.8),
                (3.2, 1.8),
                (3.2, 14.2),
                (12.8, 14.2),
                (12.8, 5.1),
                (9.5, 1.8),
                (9.5, 5.1),
                (12.8, 5.1),
            ])],
            Self::Search => &[Circle(7.0, 7.0, 4.4), Line(&[(10.4, 10.4), (14.0, 14.0)])],
            Self::Play => &[Filled(&[(4.5, 2.8), (13.5, 8.0), (4.5, 13.2)])],
            Self::Pause => &[
                Filled(&[(4.0, 3.0), (6.6, 3.0), (6.6, 13.0), (4.0, 13.0)]),
                Filled(&[(9.4, 3.0), (12.0, 3.0), (12.0, 13.0), (9.4, 13.0)]),
            ],
            Self::Stop => &[Filled(&[(3.6, 3.6), (12.4, 3.6), (12.4, 12.4), (3.6, 12.4)])],
            Self::Trash => &[
                Line(&[(2.5, 4.2), (13.5, 4.2)]),
                Line(&[(6.0, 4.0), (6.0, 2.2), (10.0, 2.2), (10.0, 4.0)]),
                Line(&[(3.8, 4.4), (4.5, 13.8), (11.5, 13.8), (12.2, 4.4)]),
                Line(&[(6.7, 7.0), (6.9, 11.2)]),
                Line(&[(9.3, 7.0), (9.1, 11.2)]),
            ],
            Self::Pencil => &[
                Line(&[
                    (10.6, 2.8),
                    (13.2, 5.4),
                    (5.6, 13.0),
                    (2.4, 13.6),
                    (3.0, 10.4),
                    (10.6, 2.8),
                    (13.2, 5.4),
                ]),
                Line(&[(8.8, 4.6), (11.4, 7.2)]),
            ],
            Self::Export => &[
                Line(&[(8.0, 10.4), (8.0, 2.2)]),
                Line(&[(4.8, 5.2), (8.0, 2.0), (11.2, 5.2)]),
                Line(&[(2.6, 9.0), (2.6, 13.8), (13.4, 13.8), (13.4, 9.0)]),
            ],
            Self::Compare => &[
                Line(&[(2.0, 3.0), (6.6, 3.0), (6.6, 13.0), (2.0, 13.0), (2.0, 3.0), (6.6, 3.0)]),
                Line(&[(9.4, 3.0), (14.0, 3.0), (14.0, 13.0), (9.4, 13.0), (9.4, 3.0), (14.0, 3.0)]),
            ],
            Self::More => &[Dot(3.5, 8.0, 1.3), Dot(8.0, 8.0, 1.3), Dot(12.5, 8.0, 1.3)],
            Self::Sun => &[
                Circle(8.0, 8.0, 3.0),
                Line(&[(8.0, 1.4), (8.0, 3.0)]),
                Line(&[(8.0, 13.0), (8.0, 14.6)]),
                Line(&[(1.4, 8.0), (3.0, 8.0)]),
                Line(&[(13.0, 8.0), (14.6, 8.0)]),
                Line(&[(3.3, 3.3), (4.5, 4.5)]),
                Line(&[(11.5, 11.5), (12.7, 12.7)]),
                Line(&[(3.3, 12.7), (4.5, 11.5)]),
                Line(&[(11.5, 4.5), (12.7, 3.3)]),
            ],
            Self::Moon => &[Line(&[
                (9.4, 2.0),
                (7.9, 3.6),
                (7.2, 5.6),
                (7.5, 7.7),
                (8.7, 9.5),
                (10.6, 10.6),
                (12.6, 10.7),
                (13.9, 10.3),
                (12.6, 12.4),
                (10.5, 13.7),
                (8.0, 14.0),
                (5.6, 13.3),
                (3.6, 11.7),
                (2.5, 9.4),
                (2.4, 6.9),
                (3.4, 4.6),
                (5.2, 2.9),
                (7.5, 2.0),
                (9.4, 2.0),
                (7.9, 3.6),
            ])],
            Self::Screen => &[
                Line(&[(1.8, 3.0), (14.2, 3.0), (14.2, 11.0), (1.8, 11.0), (1.8, 3.0), (14.2, 3.0)]),
                Line(&[(5.2, 13.6), (10.8, 13.6)]),
                Line(&[(8.0, 11.0), (8.0, 13.6)]),
            ],
            Self::Globe => &[
                Circle(8.0, 8.0, 6.2),
                Line(&[(1.8, 8.0), (14.2, 8.0)]),
                Line(&[
                    (8.0, 1.8),
                    (6.2, 3.8),
                    (5.3, 8.0),
                    (6.2, 12.2),
                    (8.0, 14.2),
                    (9.8, 12.2),
                    (10.7, 8.0),
                    (9.8, 3.8),
                    (8.0, 1.8),
                ]),
            ],
            Self::Refresh => &[
                Line(&[
                    (12.9, 9.5),
                    (12.0, 11.5),
                    (10.2, 12.9),
                    (8.0, 13.4),
                    (5.8, 12.9),
                    (4.0, 11.5),
                    (3.0, 9.5),
                    (3.0, 7.0),
                    (4.0, 5.0),
                    (5.8, 3.6),
                    (8.0, 3.1),
                    (10.2, 3.6),
                    (12.6, 5.6),
                ]),
                Line(&[(12.9, 2.2), (12.9, 5.8), (9.3, 5.8)]),
            ],
            Self::Plus => &[Line(&[(8.0, 3.0), (8.0, 13.0)]), Line(&[(3.0, 8.0), (13.0, 8.0)])],
            Self::Left => &[Line(&[(10.0, 3.5), (5.5, 8.0), (10.0, 12.5)])],
            Self::Right => &[Line(&[(6.0, 3.5), (10.5, 8.0), (6.0, 12.5)])],
            Self::Down => &[Line(&[(3.5, 6.0), (8.0, 10.5), (12.5, 6.0)])],
            Self::Picture => &[
                Line(&[(1.8, 2.8), (14.2, 2.8), (14.2, 13.2), (1.8, 13.2), (1.8, 2.8), (14.2, 2.8)]),
                Circle(5.4, 6.2, 1.2),
                Line(&[(2.2, 12.6), (6.4, 8.8), (8.6, 10.8), (11.4, 7.6), (14.0, 10.6)]),
            ],
            Self::Keyboard => &[
                Line(&[(1.4, 3.8), (14.6, 3.8), (14.6, 12.2), (1.4, 12.2), (1.4, 3.8), (14.6, 3.8)]),
                Dot(4.2, 6.6, 0.7),
                Dot(6.7, 6.6, 0.7),
                Dot(9.3, 6.6, 0.7),
                Dot(11.8, 6.6, 0.7),
                Line(&[(5.0, 9.6), (11.0, 9.6)]),
            ],
            Self::Layout => &[
                Line(&[(2.0, 2.5), (5.0, 2.5), (5.0, 13.5), (2.0, 13.5), (2.0, 2.5), (5.0, 2.5)]),
                Line(&[(6.8, 5.5), (9.8, 5.5), (9.8, 13.5), (6.8, 13.5), (6.8, 5.5), (9.8, 5.5)]),
                Line(&[(11.6, 8.5), (14.6, 8.5), (14.6, 13.5), (11.6, 13.5), (11.6, 8.5), (14.6, 8.5)]),
            ],
        }
    }

    /// Paints it into a square.
    pub fn paint(self, painter: &Painter, rect: Rect, color: Color32) {
        let scale = rect.width().min(rect.height()) / GRID;
        let place = |(x, y): (f32, f32)| rect.center() + Vec2::new(x - GRID / 2.0, y - GRID / 2.0) * scale;
        let stroke = Stroke::new((1.4 * scale).max(1.0), color);
        for part in self.parts() {
            let points = |points: &[(f32, f32)]| points.iter().copied().map(place).collect::<Vec<Pos2>>();
            match part {
                Part::Line(line) => painter.add(Shape::line(points(line), stroke)),
                Part::Filled(outline) => {
                    painter.add(Shape::convex_polygon(points(outline), color, Stroke::NONE))
                }
                Part::Circle(x, y, radius) => painter.circle_stroke(place((*x, *y)), radius * scale, stroke),
                Part::Dot(x, y, radius) => painter.circle_filled(place((*x, *y)), radius * scale, color),
            };
        }
    }

    /// As a part of a button, in the colour of its text.
    pub fn atom<'a>(self) -> Atom<'a> {
        Atom::paint(Vec2::splat(14.0), move |ui, args| {
            self.paint(ui.painter(), args.rect, args.fallback_text_color)
        })
    }

    /// Puts it beside other widgets.
    pub fn ui(self, ui: &mut Ui, side: f32, color: Color32) -> Response {
        let (rect, response) = ui.allocate_exact_size(Vec2::splat(side), Sense::hover());
        self.paint(ui.painter(), rect, color);
        response
    }

    /// A button of the icon alone; `name` is its tooltip and its name for those who do not see it.
    pub fn button(self, ui: &mut Ui, name: &str) -> Response {
        let button = egui::Button::new(self.atom()).frame_when_inactive(false).min_size(Vec2::splat(28.0));
        named(ui, button, name)
    }
}

/// A button whose picture says what it does; its name is told in words.
pub fn named(ui: &mut Ui, button: egui::Button<'_>, name: &str) -> Response {
    let padding = std::mem::replace(&mut ui.spacing_mut().button_padding, Vec2::new(7.0, 5.0));
    let response = ui.add(button);
    ui.spacing_mut().button_padding = padding;
    let enabled = ui.is_enabled();
    response.widget_info(|| WidgetInfo::labeled(Role::Button, enabled, name));
    response.on_hover_text(name)
}
