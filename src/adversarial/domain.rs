//! The domain-level discriminator: is a vector a sample, a mixture or a proxy?

use burn::tensor::{Int, Tensor, TensorData, activation::log_softmax};

/// Samples, mixtures and proxies, in this order.
pub const DOMAINS: usize = 3;

/// L_u `[1]`: the sum over the domains of the cross-entropy of their own name, 3 ln 3 at chance. Logits are `[rows, 3]` each.
pub fn domain_loss(logits: &[Tensor<2>; DOMAINS]) -> Tensor<1> {
    let each =
        std::array::from_fn::<_, DOMAINS, _>(|domain| cross_entropy(logits[domain].clone(), &vec![domain; logits[domain].dims()[0]]));
    each.into_iter().reduce(|sum, term| sum + term).expect("there are three domains")
}

/// Share of vectors whose domain is recognised, each domain counting the same; 1/3 at chance.
pub fn domain_accuracy(logits: &[Tensor<2>; DOMAINS]) -> Tensor<1> {
    let each = std::array::from_fn::<_, DOMAINS, _>(|domain| {
        let guesses = logits[domain].clone().detach().argmax(1);
        guesses.equal_scalar(domain as i64).float().mean()
    });
    each.into_iter().reduce(|sum, share| sum + share).expect("there are three domains") / DOMAINS as f64
}

/// Mean cross-entropy `[1]` of logits `[rows, classes]`.
pub fn cross_entropy(logits: Tensor<2>, labels: &[usize]) -> Tensor<1> {
    let labels: Vec<i64> = labels.iter().map(|&label| label as i64).collect();
    let shape = [labels.len(), 1];
    let labels = Tensor::<2, Int>::from_data(TensorData::new(labels, shape), &logits.device());
    log_softmax(logits, 1).gather(1, labels).mean().neg()
}
