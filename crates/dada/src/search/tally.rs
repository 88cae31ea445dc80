//! What is remembered about each query while similarities stream by.
//!
//! A query knows the similarities of its R relevant items beforehand. Of everything else it only has to know how many items come
//! before each of them, and that stops mattering for an item as soon as it is pushed out of the window. So nearly every
//! similarity costs two comparisons: one with the best relevant item (how deep is the first hit?), one with the worst that may
//! still be inside the window. At most window + 1 similarities a query pass the second before all its items are out.

use std::cmp::Ordering;

/// Similarities compared at once, before anybody looks whether one of them mattered.
const LANES: usize = 32;

/// The queries of one panel.
pub(crate) struct Tally {
    /// Original index and class of each row.
    pub(crate) index: Vec<u32>,
    pub(crate) class: Vec<usize>,
    /// Similarity of the best relevant item; +∞ without one.
    best: Vec<f32>,
    /// Similarity of the worst relevant item that may still be inside the window; +∞ when none is.
    floor: Vec<f32>,
    /// Irrelevant items before the best relevant one.
    before_best: Vec<u32>,
    /// How many of them are as similar as it, and before it by their index alone.
    tied: Vec<u32>,
    /// Where each row's relevant items begin in the three vectors below (one entry more than rows), best item first.
    start: Vec<usize>,
    similarity: Vec<f32>,
    item: Vec<u32>,
    /// Irrelevant items between the previous relevant item and this one.
    between: Vec<u32>,
    /// How many relevant items may still be inside the window, and the sum of their `between`.
    alive: Vec<u32>,
    seen: Vec<u32>,
    window: Vec<u32>,
}

impl Tally {
    /// Rows with their original index, class, number of relevant items, and the depth to which hits are wanted.
    pub(crate) fn new(index: &[u32], class: &[usize], relevant: impl Iterator<Item = usize>, depth: usize) -> Self {
        let mut start = vec![0];
        start.extend(relevant.scan(0, |sum, count| {
            *sum += count;
            Some(*sum)
        }));
        let rows = index.len();
        let counts = start.windows(2).map(|pair| pair[1] - pair[0]);
        let total = start[rows];
        Self {
            index: index.to_vec(),
            class: class.to_vec(),
            best: vec![f32::INFINITY; rows],
            floor: vec![f32::INFINITY; rows],
            before_best: vec![0; rows],
            tied: vec![0; rows],
            similarity: vec![f32::NEG_INFINITY; total],
            item: vec![0; total],
            between: vec![0; total],
            alive: counts.clone().map(|count| count as u32).collect(),
            seen: vec![0; rows],
            // R + 1, not R: one of the definitions in use looks one place further.
            window: counts.map(|count| u32::try_from(depth.max(count + 1)).unwrap_or(u32::MAX)).collect(),
            start,
        }
    }

    /// Items of the gallery that are no queries: whatever they are compared with, nothing is counted for them.
    pub(crate) fn of_items(index: &[u32], class: &[usize]) -> Self {
        Self::new(index, class, index.iter().map(|_| 0), 0)
    }

    /// Notes the similarity of a row's relevant item; `slot` numbers the row's relevant items in any order.
    pub(crate) fn relate(&mut self, row: usize, slot: usize, similarity: f32, item: u32) {
        let at = self.start[row] + slot;
        self.similarity[at] = similarity;
        self.item[at] = item;
    }

    /// Sorts the relevant items, best first: all similarities that [`Tally::relate`] notes are there.
    pub(crate) fn seal(&mut self) {
        let mut sorted = Vec::new();
        for row in 0..self.index.len() {
            let range = self.start[row]..self.start[row + 1];
            let (similarity, item) = (&mut self.similarity[range.clone()], &mut self.item[range]);
            sorted.clear();
            sorted.extend(similarity.iter().copied().zip(item.iter().copied()));
            sorted.sort_unstable_by(|&a, &b| order(a, b));
            for (at, &(s, i)) in sorted.iter().enumerate() {
                (similarity[at], item[at]) = (s, i);
            }
            if let (Some(&best), Some(&worst)) = (similarity.first(), similarity.last()) {
                (self.best[row], self.floor[row]) = (best, worst);
            }
        }
    }

    /// An irrelevant item that may come before one of the row's relevant items.
    fn meet(&mut self, row: usize, similarity: f32, item: u32) {
        let start = self.start[row];
        // Strictly better ones are counted in `sweep`.
        if similarity == self.best[row] && item < self.item[start] {
            self.before_best[row] += 1;
            self.tied[row] += 1;
        }
        if similarity < self.floor[row] {
            return;
        }
        let mut alive = self.alive[row] as usize;
        let live = start..start + alive;
        let ranked = self.similarity[live.clone()].iter().zip(&self.item[live]);
        let place = if alive <= 16 {
            ranked.take_while(|&(&s, &i)| order((s, i), (similarity, item)).is_lt()).count()
        } else {
            partition_point(&self.similarity[start..start + alive], &self.item[start..start + alive], (similarity, item))
        };
        if place == alive {
            return;
        }
        self.between[start + place] += 1;
        let mut seen = self.seen[row] + 1;
        while alive > 0 && seen + alive as u32 > self.window[row] {
            alive -= 1;
            seen -= self.between[start + alive];
        }
        (self.alive[row], self.seen[row]) = (alive as u32, seen);
        self.floor[row] = if alive > 0 { self.similarity[start + alive - 1] } else { f32::INFINITY };
    }

    /// Number of relevant items of a row and the rank (from 1) of the best one, 0 without one, then how many of the items before it
    /// are no more similar; the ranks of the hits inside the window, ascending, go into `hits`.
    pub(crate) fn ranks(&self, row: usize, hits: &mut Vec<u32>) -> (usize, u32, u32) {
        let start = self.start[row];
        let relevant = self.start[row + 1] - start;
        hits.clear();
        let alive = &self.between[start..start + self.alive[row] as usize];
        hits.extend(alive.iter().zip(1..).scan(0, |before, (between, own)| {
            *before += between;
            Some(own + *before)
        }));
        (relevant, if relevant > 0 { self.before_best[row] + 1 } else { 0 }, self.tied[row])
    }
}

/// Higher similarity first, then lower index.
pub(crate) fn order(a: (f32, u32), b: (f32, u32)) -> Ordering {
    b.0.partial_cmp(&a.0).expect("rows of length one have finite similarities").then(a.1.cmp(&b.1))
}

fn partition_point(similarity: &[f32], item: &[u32], other: (f32, u32)) -> usize {
    let (mut low, mut high) = (0, similarity.len());
    while low < high {
        let middle = (low + high) / 2;
        if order((similarity[middle], item[middle]), other).is_lt() { low = middle + 1 } else { high = middle }
    }
    low
}

/// Counts a tile (rows of `side` similarities) for the queries of both its sides; each unordered pair once when both sides are
/// one panel (`columns` is `None`).
pub(crate) fn count(tile: &[f32], side: usize, rows: &mut Tally, mut columns: Option<&mut Tally>) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx512f") {
        // SAFETY: the processor has the feature.
        return unsafe { count_avx512(tile, side, rows, columns.as_deref_mut()) };
    } else if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has the feature.
        return unsafe { count_avx2(tile, side, rows, columns.as_deref_mut()) };
    }
    count_any(tile, side, rows, columns);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn count_avx512(tile: &[f32], side: usize, rows: &mut Tally, columns: Option<&mut Tally>) {
    count_any(tile, side, rows, columns);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn count_avx2(tile: &[f32], side: usize, rows: &mut Tally, columns: Option<&mut Tally>) {
    count_any(tile, side, rows, columns);
}

#[inline(always)]
fn count_any(tile: &[f32], side: usize, rows: &mut Tally, mut columns: Option<&mut Tally>) {
    let mut noted = Vec::new();
    for (row, values) in tile.chunks_exact(side).enumerate().take(rows.index.len()) {
        let first = if columns.is_none() { row + 1 } else { 0 };
        let (best, floor) = (rows.best[row], rows.floor[row]);
        let other = other_side(rows, &mut columns);
        let values = &values[first..other.index.len()];
        let before = sweep(values, best, floor, &other.best[first..], &other.floor[first..], &mut other.before_best[first..], &mut noted);
        rows.before_best[row] += before;
        let (class, index) = (rows.class[row], rows.index[row]);
        for chunk in noted.drain(..) {
            for (column, &similarity) in values.iter().enumerate().skip(chunk).take(LANES) {
                let other = other_side(rows, &mut columns);
                if other.class[first + column] == class {
                    continue;
                }
                let item = other.index[first + column];
                if similarity >= other.floor[first + column] || similarity == other.best[first + column] {
                    other.meet(first + column, similarity, index);
                }
                if similarity >= floor || similarity == best {
                    rows.meet(row, similarity, item);
                }
            }
        }
    }
}

fn other_side<'a>(rows: &'a mut Tally, columns: &'a mut Option<&mut Tally>) -> &'a mut Tally {
    match columns {
        Some(columns) => columns,
        None => rows,
    }
}

/// Compares one row's similarities with its own thresholds and with each column's. Returns how many beat `best`, adds one to
/// `before_best` of each column whose best is beaten, and notes the offsets of the chunks that need a closer look.
#[inline(always)]
fn sweep(
    values: &[f32],
    best: f32,
    floor: f32,
    column_best: &[f32],
    column_floor: &[f32],
    before_best: &mut [u32],
    noted: &mut Vec<usize>,
) -> u32 {
    let length = values.len();
    let (column_best, column_floor, before_best) = (&column_best[..length], &column_floor[..length], &mut before_best[..length]);
    let mut total = 0;
    for chunk in (0..length).step_by(LANES) {
        let end = length.min(chunk + LANES);
        let columns = column_best[chunk..end].iter().zip(&column_floor[chunk..end]).zip(&mut before_best[chunk..end]);
        let mut look = 0;
        let mut beaten = 0;
        for (&value, ((&other_best, &other_floor), before)) in values[chunk..end].iter().zip(columns) {
            beaten += u32::from(value > best);
            *before += u32::from(value > other_best);
            look |= u32::from(value >= floor) | u32::from(value >= other_floor);
            look |= u32::from(value == best) | u32::from(value == other_best);
        }
        total += beaten;
        if look != 0 {
            noted.push(chunk);
        }
    }
    total
}
