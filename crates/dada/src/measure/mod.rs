//! Measurements that people ask for, from a model or a file to figures: what is behind `dada evaluate`, `dada audit` and
//! `dada compare`.
//!
//! An [`Input`] names models or files of embeddings; [`Input::subjects`] makes embeddings of them with all that is known about each row.
//! [`evaluate`](evaluation::evaluate) scores one of them, [`evaluate_together`](ensemble::evaluate_together) several of the same items,
//! [`audit`](audit::audit) looks for what would spoil a result, and [`Comparison`](comparison::Comparison) makes and compares runs. The room
//! [`crate::evaluate`], which has the figures, knows nothing of models.

pub mod approximations;
pub mod audit;
pub mod comparison;
pub mod embedding;
pub mod ensemble;
pub mod evaluation;
pub mod input;
pub mod items;
pub mod page;
pub mod run;
pub mod subject;

pub use input::{Input, Models, RoleFiles, Vectors};
pub use subject::Subject;
