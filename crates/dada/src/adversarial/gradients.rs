//! What gradients are multiplied by: over the epochs, and on their way from the discriminators to encoder and proxies.

use burn::tensor::Tensor;

use crate::adversarial::DadaConfig;
use crate::model::layers::stop_gradient;

/// How much of each weight holds for encoder and proxies: from 0 to 1, while it is ramped up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RampUp {
    /// Of the domain level.
    pub domain: f64,
    /// Of the category level.
    pub category: f64,
}

impl RampUp {
    /// After the ramp-up.
    pub const DONE: Self = Self { domain: 1.0, category: 1.0 };
}

/// The factor of each term's gradient where it leaves the discriminators for samples, proxies and a learned mixture. Values are the
/// same whatever the factor; the discriminators' own gradients are whole.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GradientScale {
    /// Of L_u.
    pub domain: f64,
    /// Of L_s.
    pub risk: f64,
    /// Of L_dis.
    pub discrepancy: f64,
}

impl GradientScale {
    /// Gradients pass as they are: for the encoder's own step.
    pub const ONE: Self = Self { domain: 1.0, risk: 1.0, discrepancy: 1.0 };
    /// Gradients stay within the discriminators: for their own step.
    pub const ZERO: Self = Self { domain: 0.0, risk: 0.0, discrepancy: 0.0 };

    /// Gradient reversal (Ganin and Lempitsky, *Unsupervised Domain Adaptation by Backpropagation*, ICML 2015): one backward pass over
    /// [`Terms::for_discriminators`](crate::adversarial::Terms::for_discriminators) then gives encoder and proxies the gradient of
    /// [`Terms::for_encoder`](crate::adversarial::Terms::for_encoder).
    pub fn reversed(config: &DadaConfig, ramp_up: RampUp) -> Self {
        let share = if config.domain.weight == 0.0 { 0.0 } else { config.domain.generator_weight / config.domain.weight };
        Self { domain: -share * ramp_up.domain, risk: ramp_up.category, discrepancy: -ramp_up.category }
    }
}

/// The same values, with gradients multiplied by `factor`.
pub(super) fn scale_gradient(x: Tensor<2>, factor: f64) -> Tensor<2> {
    if factor == 1.0 {
        return x;
    }
    let fixed = stop_gradient(x.clone());
    // The difference is exactly zero, so that values do not change by rounding.
    if factor == 0.0 { fixed } else { (x - fixed.clone()) * factor + fixed }
}
