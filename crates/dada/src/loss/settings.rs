//! What a file has to provide to be a loss in the list: a configuration and a module.

use burn::tensor::Tensor;

use crate::error::{Error, Result};
use crate::loss::rows::select_rows;
use crate::model::layers::Initializer;

/// The keys of one loss in the `[loss]` section. `Default` is the publication's choice.
pub trait LossSettings: Default {
    /// What is made of them.
    type Loss: Loss;

    /// The default of `loss.weight`: the weight beside which `dada`'s default weights are neither lost nor in charge. This one suits a mean over rows.
    const DEFAULT_WEIGHT: f64 = 0.05;

    /// # Errors
    /// For a parameter outside the range in which the loss is defined.
    fn check(&self) -> Result<()>;

    /// A loss with freshly drawn proxies of `dim` dimensions for `classes` classes.
    fn init(&self, classes: usize, dim: usize, init: &mut Initializer) -> Self::Loss;
}

/// A proxy loss: trainable vectors, and how embeddings are compared with them.
pub trait Loss {
    /// The loss `[1]` of embeddings `[batch, dim]`, which need not be normalised, with a class each.
    fn forward(&self, embeddings: Tensor<2>, labels: &[usize]) -> Tensor<1>;

    /// All proxies, `[classes, dim]`; with several centres a class `[classes · centres, dim]`, those of a class side by side.
    fn proxies(&self) -> Tensor<2>;

    /// Proxies of each class.
    fn centres(&self) -> usize {
        1
    }

    /// "The" proxy of each row `[batch, dim]`: that of its class, or, with several centres a class, the mean of the class's
    /// directions, weighted as the loss weighs them for this embedding. It carries gradients to the proxies, and with several
    /// centres to the embeddings.
    fn proxy_rows(&self, _embeddings: Tensor<2>, labels: &[usize]) -> Tensor<2> {
        select_rows(self.proxies(), labels)
    }
}

/// # Errors
/// Unless the value of `loss.{key}` is above 0.
pub(super) fn check_positive(key: &str, value: f64) -> Result<()> {
    if value.is_finite() && value > 0.0 {
        return Ok(());
    }
    Err(Error::Config(format!("loss.{key} is {value}, expected a number above 0")))
}

/// # Errors
/// Unless the value of `loss.{key}` is finite.
pub(super) fn check_finite(key: &str, value: f64) -> Result<()> {
    if value.is_finite() {
        return Ok(());
    }
    Err(Error::Config(format!("loss.{key} is {value}, expected a finite number")))
}

/// # Errors
/// Unless there is a centre.
pub(super) fn check_centres(centres: usize) -> Result<()> {
    if centres > 0 {
        return Ok(());
    }
    Err(Error::Config("loss.centres is 0, expected at least 1".into()))
}
