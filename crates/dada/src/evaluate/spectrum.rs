//! In how many directions embeddings spread: figures of the variances along their principal components.
//!
//! All take variances in any order, at least one; see [`crate::search::pca::Pca`].

/// e to the entropy of the variances' shares (Roy and Vetterli, EUSIPCO 2007). 1 when one direction has all the variance, their number when
/// all have the same; 0 without any variance.
pub fn effective_rank(variances: &[f64]) -> f64 {
    let Some(shares) = shares(variances) else { return 0.0 };
    let entropy: f64 = shares.into_iter().filter(|&share| share > 0.0).map(|share| -share * share.ln()).sum();
    entropy.exp()
}

/// ρ, the divergence from the uniform distribution over directions to the shares of variance, in nats (after Roth et al.,
/// "Revisiting Training Strategies and Generalization Performance in Deep Metric Learning", ICML 2020): 0 for a flat spectrum,
/// higher the more a few directions dominate. Shares below 1e-12 count as that.
pub fn rho(variances: &[f64]) -> f64 {
    let Some(shares) = shares(variances) else { return f64::INFINITY };
    let uniform = 1.0 / variances.len() as f64;
    shares.iter().map(|share| uniform * (uniform / share.max(1e-12)).ln()).sum()
}

/// How many directions hold this share of the variance; `variances` fall.
pub fn directions_for(share: f64, variances: &[f64]) -> usize {
    let Some(shares) = shares(variances) else { return 0 };
    let mut sum = 0.0;
    for (at, own) in shares.iter().enumerate() {
        sum += own;
        if sum >= share - 1e-12 {
            return at + 1;
        }
    }
    shares.len()
}

/// Directions whose variance is less than a ten-thousandth of what an equal share would be.
pub fn collapsed(variances: &[f64]) -> usize {
    let Some(shares) = shares(variances) else { return variances.len() };
    let least = 1e-4 / variances.len() as f64;
    shares.iter().filter(|&&share| share < least).count()
}

/// Each direction's share of the variance; nothing without any variance.
fn shares(variances: &[f64]) -> Option<Vec<f64>> {
    let total: f64 = variances.iter().sum();
    (total > 0.0).then(|| variances.iter().map(|variance| variance / total).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flat_and_collapsed_spectra_are_told_apart() {
        let flat = [1.0, 1.01, 0.99, 1.0, 1.0, 1.0, 1.02, 0.98];
        assert!(effective_rank(&flat) > 7.99 && rho(&flat) < 1e-3 && collapsed(&flat) == 0, "{}", rho(&flat));
        assert_eq!(directions_for(1.0, &flat), 8);
        let line = [1.0, 1e-8, 0.0, 0.0];
        assert!((effective_rank(&line) - 1.0).abs() < 1e-3 && rho(&line) > 3.0, "{}", rho(&line));
        assert_eq!((collapsed(&line), directions_for(0.99, &line)), (3, 1));
        let point = [0.0; 3];
        assert_eq!((effective_rank(&point), collapsed(&point), rho(&point), directions_for(0.9, &point)), (0.0, 3, f64::INFINITY, 0));
    }

    #[test]
    fn figures_by_hand() {
        let variances = [2.0, 1.0, 1.0];
        assert!((effective_rank(&variances) - 2.0 * 2f64.sqrt()).abs() < 1e-12);
        assert!((rho(&variances) - (32f64 / 27.0).ln() / 3.0).abs() < 1e-12);
        assert_eq!([0.5, 0.6, 0.75, 0.76].map(|share| directions_for(share, &variances)), [1, 2, 2, 3]);
    }
}
