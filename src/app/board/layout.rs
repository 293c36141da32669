//! Where things stand on the board, as plain numbers.

use egui::{Pos2, Rect, Vec2, pos2, vec2};

/// Between two columns: room for the handle of a boundary.
pub const GAP: f32 = 12.0;
/// A column is never narrower.
const NARROWEST: f32 = 104.0;
/// A column is never wider: chips in longer rows are hard to follow.
pub const WIDEST: f32 = 1200.0;
/// Inside a column, to its edges.
pub const MARGIN: f32 = 10.0;
/// Between two chips.
pub const CHIP_GAP: f32 = 4.0;
/// An ordinary chip.
const CHIP: Vec2 = vec2(40.0, 24.0);

/// How columns are spread over the board.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Grid {
    /// Columns of a row.
    pub in_row: usize,
    /// Rows.
    pub rows: usize,
    /// Width of a column.
    pub width: f32,
    /// Height of a row that leaves nothing of the area.
    pub share: f32,
}

impl Grid {
    /// So many columns on an area: in rows where they do not fit beside each other.
    pub fn of(area: Vec2, count: usize, widest: f32) -> Self {
        let fit = (((area.x + GAP) / (NARROWEST + GAP)).floor() as usize).max(1);
        let rows = count.div_ceil(fit).max(1);
        // As even as they go: 9 devices where 8 fit are 5 and 4.
        let in_row = count.div_ceil(rows).max(1);
        let width = ((area.x + GAP) / in_row as f32 - GAP).clamp(NARROWEST.min(area.x), widest);
        Self { in_row, rows, width, share: (area.y - GAP * (rows - 1) as f32) / rows as f32 }
    }

    /// The columns. `natural` is the height that a device's column wants. Columns of a row are equally high, and rows
    /// fill the height there is.
    pub fn columns(&self, count: usize, natural: impl Fn(usize) -> f32) -> Vec<Rect> {
        let mut rects = Vec::with_capacity(count);
        let mut top = 0.0;
        for row in 0..self.rows {
            let members = row * self.in_row..((row + 1) * self.in_row).min(count);
            let wanted = members.clone().map(&natural).fold(0.0, f32::max);
            let height = wanted.max(self.share);
            for place in 0..members.len() {
                let left = place as f32 * (self.width + GAP);
                rects.push(Rect::from_min_size(pos2(left, top), vec2(self.width, height)));
            }
            top += height + GAP;
        }
        rects
    }
}

/// How wide a chip wants to be, in cells of the grid.
pub fn cells(label: &str) -> usize {
    if label.chars().count() > 7 { 2 } else { 1 }
}

/// The chips of a column, wrapped into rows that fill the width; and the height that they take.
pub fn chips(width: f32, zoom: f32, cells: impl Iterator<Item = usize>) -> (Vec<Rect>, f32) {
    let wanted = CHIP * zoom;
    let per_row = (((width + CHIP_GAP) / (wanted.x + CHIP_GAP)).floor() as usize).max(1);
    let cell = vec2((width + CHIP_GAP) / per_row as f32 - CHIP_GAP, wanted.y);
    let (mut rects, mut column, mut row) = (Vec::new(), 0, 0);
    for cells in cells {
        let cells = cells.clamp(1, per_row);
        if column + cells > per_row {
            (column, row) = (0, row + 1);
        }
        let min = pos2(column as f32 * (cell.x + CHIP_GAP), row as f32 * (cell.y + CHIP_GAP));
        let size = vec2(cells as f32 * (cell.x + CHIP_GAP) - CHIP_GAP, cell.y);
        rects.push(Rect::from_min_size(min, size));
        column += cells;
    }
    let height = rects.last().map_or(0.0, |rect: &Rect| rect.max.y);
    (rects, height)
}

/// A capacity bar: where each part begins and ends, and where the capacity lies, as shares of its length.
#[derive(Debug, Clone, PartialEq)]
pub struct Bar {
    /// Begin and end of each part.
    pub parts: Vec<(f32, f32)>,
    /// Where the device ends; 1 where everything fits.
    pub capacity: f32,
}

/// The bar of parts in bytes on a device of that capacity. What is over runs past the capacity's mark.
pub fn bar(parts: &[u64], capacity: u64) -> Bar {
    let total = parts.iter().fold(0u64, |sum, part| sum.saturating_add(*part));
    let whole = total.max(capacity).max(1) as f64;
    let mut sum = 0u64;
    let parts = parts
        .iter()
        .map(|part| {
            let begin = sum as f64 / whole;
            sum = sum.saturating_add(*part);
            (begin as f32, (sum as f64 / whole) as f32)
        })
        .collect();
    Bar { parts, capacity: (capacity as f64 / whole) as f32 }
}

/// Places of the handles in the gaps beside columns: for each boundary the device before and after it. A handle lies
/// beside the column before the boundary, on the side of the column after it, below other handles of that gap.
pub fn handles(columns: &[Rect], boundaries: &[(usize, usize)], top: f32) -> Vec<Option<Handle>> {
    let mut taken: Vec<(i32, i32, usize)> = Vec::new();
    let place = |&(before, after): &(usize, usize)| {
        let (from, to) = (columns.get(before)?, columns.get(after)?);
        // The next row, or a column further on the right, lies to the right.
        let outward = if to.min.y > from.min.y || (to.min.y == from.min.y && to.min.x > from.min.x) {
            1.0
        } else {
            -1.0
        };
        let x = if outward > 0.0 { from.max.x + GAP / 2.0 } else { from.min.x - GAP / 2.0 };
        let key = (x as i32, from.min.y as i32);
        let above = match taken.iter_mut().find(|(x, y, _)| (*x, *y) == key) {
            Some((_, _, count)) => {
                *count += 1;
                *count
            }
            None => {
                taken.push((key.0, key.1, 0));
                0
            }
        };
        let center = pos2(x, from.min.y + top + HANDLE.y * (0.5 + 1.25 * above as f32));
        (center.y + HANDLE.y / 2.0 <= from.max.y).then_some(Handle { center, outward })
    };
    boundaries.iter().map(place).collect()
}

/// The handle of a boundary between two stages.
pub const HANDLE: Vec2 = vec2(10.0, 40.0);

/// Where a handle stands and which way gives units to the stage before it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Handle {
    /// Its middle.
    pub center: Pos2,
    /// 1 where pulling to the right hands units to the stage before the boundary, -1 where pulling to the left does.
    pub outward: f32,
}

/// How far a boundary is pulled for one unit to change sides, in points.
pub const PULL: f32 = 12.0;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn eight_devices_stand_beside_each_other_and_sixteen_in_two_rows() {
        let area = vec2(1060.0, 500.0);
        let columns = |area, count, height| Grid::of(area, count, WIDEST).columns(count, |_| height);
        let eight = columns(area, 8, 300.0);
        assert!(eight.iter().all(|rect| rect.min.y == 0.0 && rect.height() == 500.0));
        let sixteen = columns(area, 16, 200.0);
        assert_eq!(sixteen.iter().filter(|rect| rect.min.y == 0.0).count(), 8);
        assert!((sixteen[15].max.y - 500.0).abs() < 0.01, "two rows fill the height");
        let nine = columns(vec2(930.0, 500.0), 9, 200.0);
        assert_eq!(nine.iter().filter(|rect| rect.min.y == 0.0).count(), 5);
    }

    #[test]
    fn handles_of_one_gap_stand_below_each_other() {
        let rects = Grid::of(vec2(600.0, 400.0), 3, WIDEST).columns(3, |_| 100.0);
        let places = handles(&rects, &[(0, 1), (1, 2), (2, 0), (0, 2)], 100.0);
        let places: Vec<Handle> = places.into_iter().map(Option::unwrap).collect();
        assert_eq!(places.iter().map(|h| h.outward).collect::<Vec<_>>(), [1.0, 1.0, -1.0, 1.0]);
        assert!(places[0].center.x > rects[0].max.x && places[0].center.x < rects[1].min.x);
        assert_eq!(places[3].center.x, places[0].center.x);
        assert!(places[3].center.y > places[0].center.y + HANDLE.y);
        assert_eq!(handles(&rects, &[(0, 9)], 0.0), [None]);
    }

    proptest! {
        #[test]
        fn columns_never_overlap(width in 130f32..4000.0, height in 50f32..2000.0, count in 1usize..40) {
            let rects = Grid::of(vec2(width, height), count, WIDEST).columns(count, |device| 60.0 + device as f32);
            prop_assert_eq!(rects.len(), count);
            for (i, a) in rects.iter().enumerate() {
                prop_assert!(a.min.x >= 0.0 && a.max.x <= width.max(NARROWEST) + 0.5);
                for b in &rects[i + 1..] {
                    prop_assert!(!a.shrink(0.5).intersects(b.shrink(0.5)));
                }
            }
        }

        #[test]
        fn chips_stay_in_their_column(width in 90f32..900.0, zoom in 0.6f32..1.8, all in proptest::collection::vec(1usize..3, 0..160)) {
            let count = all.len();
            let (rects, height) = chips(width, zoom, all.into_iter());
            prop_assert_eq!(rects.len(), count);
            for (i, a) in rects.iter().enumerate() {
                prop_assert!(a.min.x >= -0.01 && a.max.x <= width + 0.5 && a.max.y <= height + 0.01);
                if let Some(b) = rects.get(i + 1) {
                    prop_assert!(b.min.y > a.min.y || b.min.x >= a.max.x, "reading order");
                }
            }
        }

        #[test]
        fn bars_add_up(parts in proptest::collection::vec(any::<u64>(), 6), capacity in any::<u64>()) {
            let bar = bar(&parts, capacity);
            prop_assert!((0.0..=1.0).contains(&bar.capacity));
            let mut at = 0.0;
            for (begin, end) in bar.parts {
                prop_assert!(begin == at && end >= begin && end <= 1.0);
                at = end;
            }
        }
    }
}
