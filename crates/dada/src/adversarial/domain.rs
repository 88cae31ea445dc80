//! The domain-level discriminator: is a vector a sample, a mixture or a proxy?

use burn::tensor::{Int, Tensor, TensorData, activation::log_softmax};

/// L_u `[1]`: the sum over the D domains (samples, mixtures if there are any, proxies, in this order) of the cross-entropy of their own
/// name, D ln D at chance. Logits are `[rows, D]` each.
pub fn domain_loss(logits: &[Tensor<2>]) -> Tensor<1> {
    let each = logits.iter().enumerate().map(|(domain, logits)| cross_entropy(logits.clone(), &vec![domain; logits.dims()[0]]));
    each.reduce(|sum, term| sum + term).expect("there are domains")
}

/// Share of vectors whose domain is recognised, each domain counting the same; 1/D at chance.
pub fn domain_accuracy(logits: &[Tensor<2>]) -> Tensor<1> {
    let each = logits.iter().enumerate().map(|(domain, logits)| {
        let guesses = logits.clone().detach().argmax(1);
        guesses.equal_scalar(domain as i64).float().mean()
    });
    each.reduce(|sum, share| sum + share).expect("there are domains") / logits.len() as f64
}

/// Mean cross-entropy `[1]` of logits `[rows, classes]`.
pub fn cross_entropy(logits: Tensor<2>, labels: &[usize]) -> Tensor<1> {
    let labels: Vec<i64> = labels.iter().map(|&label| label as i64).collect();
    let shape = [labels.len(), 1];
    let labels = Tensor::<2, Int>::from_data(TensorData::new(labels, shape), &logits.device());
    log_softmax(logits, 1).gather(1, labels).mean().neg()
}
