//! Scores and proxies of rows by their class: what several losses are made of.

use burn::tensor::{Bool, Int, Tensor, TensorData};

use crate::model::layers::normalize;

/// Marks each row's class in scores `[batch, classes]`.
pub(super) fn membership(labels: &[usize], scores: &Tensor<2>) -> Tensor<2, Bool> {
    let [batch, classes] = scores.dims();
    let mut marks = vec![false; batch * classes];
    for (row, &label) in labels.iter().enumerate() {
        marks[row * classes + label] = true;
    }
    Tensor::from_data(TensorData::new(marks, [batch, classes]), &scores.device())
}

/// The row of each label, `[batch, dim]`, of `[classes, dim]`.
pub(super) fn select_rows(rows: Tensor<2>, labels: &[usize]) -> Tensor<2> {
    let batch = labels.len();
    let labels = labels.iter().map(|&label| label as i64).collect();
    let labels = Tensor::<1, Int>::from_data(TensorData::new(labels, [batch]), &rows.device());
    rows.select(0, labels)
}

/// The score of each row's class, `[batch, 1]`, of `[batch, classes]`.
pub(super) fn own_scores(scores: Tensor<2>, labels: &[usize]) -> Tensor<2> {
    let batch = labels.len();
    let labels = labels.iter().map(|&label| label as i64).collect();
    let labels = Tensor::<2, Int>::from_data(TensorData::new(labels, [batch, 1]), &scores.device());
    scores.gather(1, labels)
}

/// log Σ exp along each row of `[batch, classes]`: `[batch, 1]`.
pub(super) fn log_sum_exp(scores: Tensor<2>) -> Tensor<2> {
    let largest = scores.clone().detach().max_dim(1);
    (scores - largest.clone()).exp().sum_dim(1).log() + largest
}

/// The directions of the centres of each row's class, `[batch, centres, dim]`, of `[classes · centres, dim]`.
pub(super) fn own_centres(proxies: Tensor<2>, centres: usize, labels: &[usize]) -> Tensor<3> {
    let [_, dim] = proxies.dims();
    let rows: Vec<usize> = labels.iter().flat_map(|label| label * centres..(label + 1) * centres).collect();
    normalize(select_rows(proxies, &rows)).reshape([labels.len(), centres, dim])
}

/// The cosine of each row `[batch, dim]` with its centres' directions `[batch, centres, dim]`: `[batch, centres, 1]`.
pub(super) fn cosines_with(own: &Tensor<3>, embeddings: Tensor<2>) -> Tensor<3> {
    own.clone().matmul(normalize(embeddings).unsqueeze_dim(2))
}

/// The sum of each row's vectors `[batch, centres, dim]`, weighted by `[batch, centres, 1]`: `[batch, dim]`.
pub(super) fn weighted_sum(vectors: Tensor<3>, weights: Tensor<3>) -> Tensor<2> {
    (vectors * weights).sum_dim(1).squeeze_dim(1)
}
