//! DADA: samples and proxies as two domains, a mixed domain between them, and two discriminators over all three.
//!
//! Both sides of the game are built from the same three terms, computed on embeddings x and on the proxy of each row:
//!
//! | term | what |
//! |---|---|
//! | L_u | the domain discriminator's cross-entropy over samples, mixtures and proxies |
//! | L_s | the category discriminator's labelling risk on samples, twice the cross-entropy |
//! | L_dis | the discrepancy of its predictions between samples and mixtures |
//!
//! The discriminators minimise `a L_u + b L_s - c L_dis`; encoder and proxies minimise `w L_proxy + b L_s + c L_dis - g L_u`
//! (Ren et al., AAAI 2024; each letter is a key of `[dada.domain]`, `[dada.category]` or `[loss]`).

mod ablation;
mod category;
mod class_mix;
mod config;
mod discrepancy;
mod discriminator;
mod discriminators;
mod domain;
mod gradients;
mod mix;
mod recipe;
mod terms;

pub use ablation::{Confusion, Gate, Mixer, slerp, spectral_norm};
pub use category::CategoryConfig;
pub use class_mix::{append_class_mixtures, class_coefficient};
pub use config::{DadaConfig, DomainConfig, Recipe, Update};
pub use discrepancy::Discrepancy;
pub use discriminator::{Affine, Discriminator, DiscriminatorConfig, Norm};
pub use discriminators::Discriminators;
pub use domain::{cross_entropy, domain_accuracy, domain_loss};
pub use gradients::{GradientScale, RampUp};
pub use mix::{Draw, MixConfig, MixMode};
pub use terms::{Randomness, Terms};

#[cfg(test)]
mod tests;
