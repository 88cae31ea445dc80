//! Pages that people open: one self-contained HTML file each, without a request to anywhere.
//!
//! A figure is a function from numbers to [`Html`]; a [`Page`] is a title and what was added to it, top to bottom. All text is escaped on
//! its way into [`Html`], so class names may hold anything. Colours follow the reader's light or dark setting, and every chart is an
//! inline SVG with a spoken description.
//!
//! - `page`: a whole document
//! - `html`: markup, and the text and numbers in it
//! - `blocks`: large numbers, tables, parts that are shown on demand
//! - `figure`: what all charts share
//! - `axis`: which numbers stand where, and which of them are written down
//! - `line`, `bars`, `histogram`, `intervals`, `scatter`: a chart each
//! - `pictures`: thumbnails in rows

mod axis;
mod figure;

pub mod bars;
pub mod blocks;
pub mod histogram;
pub mod html;
pub mod intervals;
pub mod line;
pub mod page;
pub mod pictures;
pub mod scatter;

pub use axis::{Axis, Scale};
pub use bars::{Bar, bars};
pub use blocks::{Tile, beside, details, preformatted, switch, table, tiles};
pub use histogram::{Counts, histogram};
pub use html::{Html, count, decimal};
pub use intervals::{Interval, intervals};
pub use line::{Line, Lines, lines};
pub use page::Page;
pub use pictures::{Mark, Thumbnail, sheet, strip};
pub use scatter::{Point, Shape, scatter};
