//! The multi-layer perceptron behind both discriminators.

use burn::module::{Module, Param};
use burn::tensor::{Int, Tensor, TensorData, activation::relu};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::adversarial::ablation::spectral_norm;
use crate::model::layers::{Initializer, Linear, dropout, layer_norm};
use dada_compute::{Activation, batch_norm_rows};

/// What follows a discriminator's linear layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Norm {
    /// Batch norm over all domains together, so that they are seen side by side.
    #[default]
    BatchJoint,
    /// Batch norm within each domain, which hides the differences of mean and scale between them: the released code.
    BatchPerDomain,
    /// Layer norm.
    Layer,
    /// Nothing.
    None,
}

/// Shape of a discriminator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DiscriminatorConfig {
    /// Widths of the hidden layers.
    pub hidden: Vec<usize>,
    /// Normalisation of the hidden layers.
    pub norm: Norm,
    /// Whether the output is normalised too.
    pub output_norm: bool,
    /// Dropout rate of the hidden layers.
    pub dropout: f64,
    /// Divide each linear layer's weight by its spectral norm, so that the layer stretches no vector. A `norm` other than `none` rescales what
    /// comes out, which leaves little of it.
    pub spectral_norm: bool,
}

impl Default for DiscriminatorConfig {
    fn default() -> Self {
        Self { hidden: vec![512], norm: Norm::BatchJoint, output_norm: false, dropout: 0.0, spectral_norm: false }
    }
}

impl DiscriminatorConfig {
    /// A discriminator from `inputs` dimensions to `outputs` logits. A `rank` above 0 makes the last matrix a product of two, `[outputs, rank]` and
    /// `[rank, width]`.
    pub fn init(&self, inputs: usize, outputs: usize, rank: usize, init: &mut Initializer) -> Discriminator {
        let mut layers = Vec::new();
        let mut norms = Vec::new();
        let mut width = inputs;
        let mut factor = None;
        for (index, &next) in self.hidden.iter().chain([&outputs]).enumerate() {
            if rank > 0 && index == self.hidden.len() {
                factor = Some(Linear::new(width, rank, init));
                width = rank;
            }
            layers.push(Linear::new(width, next, init));
            let normalised = index < self.hidden.len() || self.output_norm;
            if normalised && self.norm != Norm::None {
                norms.push(Affine { weight: init.constant([next], 1.0), bias: init.constant([next], 0.0) });
            }
            width = next;
        }
        Discriminator { layers, factor, norms, norm: self.norm, dropout: self.dropout, spectral: self.spectral_norm }
    }
}

/// Scale and shift after a normalisation.
#[derive(Module, Debug)]
pub struct Affine {
    /// γ, `[width]`
    pub weight: Param<Tensor<1>>,
    /// β, `[width]`
    pub bias: Param<Tensor<1>>,
}

/// Linear layers, each hidden one followed by norm, ReLU and dropout.
///
/// A discriminator only ever works while training: its batch norm uses the batch's statistics and keeps no averages.
#[derive(Module, Debug)]
pub struct Discriminator {
    /// Hidden layers, then the output.
    pub layers: Vec<Linear>,
    /// What the output layer's input goes through first, where its matrix is factorised.
    pub factor: Option<Linear>,
    /// One for each normalised layer.
    pub norms: Vec<Affine>,
    #[module(skip)]
    norm: Norm,
    #[module(skip)]
    dropout: f64,
    #[module(skip)]
    spectral: bool,
}

impl Discriminator {
    /// Logits `[rows, outputs]` of each domain `[rows, inputs]`; domains have as many rows as they like. With `chosen`, only the logits of these
    /// outputs, in this order.
    pub fn forward<const N: usize>(&self, domains: [Tensor<2>; N], chosen: Option<&[usize]>, generator: &mut ChaCha8Rng) -> [Tensor<2>; N] {
        // All domains together in either case: a linear layer does not mind, and its gradient is then one product.
        let rows = domains.each_ref().map(|domain| domain.dims()[0]);
        let groups = if self.norm == Norm::BatchPerDomain { rows.to_vec() } else { vec![rows.iter().sum()] };
        let logits = self.pass(Tensor::cat(domains.into(), 0), chosen, &groups, generator);
        let mut start = 0;
        rows.map(|rows| {
            start += rows;
            logits.clone().narrow(0, start - rows, rows)
        })
    }

    /// How many outputs there are.
    pub fn outputs(&self) -> usize {
        let [outputs, _] = self.layers[self.layers.len() - 1].weight.dims();
        outputs
    }

    fn pass(&self, mut x: Tensor<2>, chosen: Option<&[usize]>, groups: &[usize], generator: &mut ChaCha8Rng) -> Tensor<2> {
        let (output, hidden) = self.layers.split_last().expect("there is an output layer");
        for (index, layer) in hidden.iter().enumerate() {
            x = self.linear(x, layer, None);
            x = match self.norms.get(index) {
                Some(affine) => self.normalize(x, affine.weight.val(), affine.bias.val(), groups, Activation::Relu),
                None => relu(x),
            };
            x = dropout(x, self.dropout, generator);
        }
        let chosen = chosen.map(|chosen| indices(chosen, &x));
        if let Some(factor) = &self.factor {
            x = self.linear(x, factor, None);
        }
        x = self.linear(x, output, chosen.clone());
        let Some(affine) = self.norms.get(hidden.len()) else { return x };
        let (mut weight, mut bias) = (affine.weight.val(), affine.bias.val());
        if let Some(chosen) = chosen {
            (weight, bias) = (weight.select(0, chosen.clone()), bias.select(0, chosen));
        }
        self.normalize(x, weight, bias, groups, Activation::Identity)
    }

    fn normalize(&self, x: Tensor<2>, weight: Tensor<1>, bias: Tensor<1>, groups: &[usize], activation: Activation) -> Tensor<2> {
        if self.norm != Norm::Layer {
            return batch_norm_rows(x, weight, bias, groups, activation);
        }
        let x = layer_norm(x) * weight.unsqueeze() + bias.unsqueeze();
        if activation == Activation::Relu { relu(x) } else { x }
    }

    fn linear(&self, x: Tensor<2>, layer: &Linear, chosen: Option<Tensor<1, Int>>) -> Tensor<2> {
        if !self.spectral && chosen.is_none() {
            return layer.forward(x);
        }
        let (weight, bias) = (layer.weight.val(), layer.bias.val());
        let norm = self.spectral.then(|| spectral_norm(weight.clone()).clamp_min(1e-12));
        let (weight, bias) = match chosen {
            Some(chosen) => (weight.select(0, chosen.clone()), bias.select(0, chosen)),
            None => (weight, bias),
        };
        let product = x.matmul(weight.transpose());
        let product = if let Some(norm) = norm { product / norm } else { product };
        product + bias.unsqueeze()
    }
}

fn indices(chosen: &[usize], beside: &Tensor<2>) -> Tensor<1, Int> {
    let values = chosen.iter().map(|&index| index as i64).collect();
    Tensor::from_data(TensorData::new(values, [chosen.len()]), &beside.device())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, generator};
    use burn::module::Module;
    use burn::tensor::{DType, Device};

    fn init() -> Initializer {
        Initializer::new(&Device::default(), 2).with_dtype(DType::F64)
    }

    fn domains() -> [Tensor<2>; 2] {
        let mut init = init();
        [init.normal([6, 4], 1.0).val(), init.normal([3, 4], 3.0).val() + 5.0]
    }

    fn logits(discriminator: &Discriminator, chosen: Option<&[usize]>) -> Vec<Vec<f64>> {
        let logits = discriminator.forward(domains(), chosen, &mut generator(0, Purpose::Dropout, 0, 0, 0));
        logits.map(|logits| logits.into_data().iter().collect()).to_vec()
    }

    fn close(a: &[f64], b: &[f64]) -> bool {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-9)
    }

    #[test]
    fn each_norm_has_its_own_statistics() {
        // Of one linear layer and the norm of its output, so that the output's statistics are the norm's.
        let with = |norm| {
            let config = DiscriminatorConfig { hidden: vec![], norm, output_norm: true, ..Default::default() };
            logits(&config.init(4, 5, 0, &mut init()), None)
        };
        let column = |rows: &[f64], at: usize| -> f64 { rows.iter().skip(at).step_by(5).sum::<f64>() };
        let [joint, apart, layer, none] = [Norm::BatchJoint, Norm::BatchPerDomain, Norm::Layer, Norm::None].map(with);
        assert!((0..5).all(|at| (column(&joint[0], at) + column(&joint[1], at)).abs() < 1e-9));
        assert!((0..5).any(|at| column(&joint[0], at).abs() > 1.0), "each domain keeps what sets it apart");
        assert!((0..5).all(|at| column(&apart[0], at).abs() < 1e-9 && column(&apart[1], at).abs() < 1e-9));
        assert!(layer.concat().chunks(5).all(|row| row.iter().sum::<f64>().abs() < 1e-9));
        let layer = &init_linear();
        let plain = domains().map(|x| layer.forward(x).into_data().iter().collect::<Vec<f64>>());
        assert!(close(&none[0], &plain[0]) && close(&none[1], &plain[1]));
    }

    fn init_linear() -> Linear {
        Linear::new(4, 5, &mut init())
    }

    #[test]
    fn chosen_outputs_are_those_of_the_whole() {
        for (rank, output_norm, spectral_norm) in [(0, false, false), (0, true, false), (2, true, true)] {
            let config = DiscriminatorConfig { hidden: vec![7], output_norm, spectral_norm, ..Default::default() };
            let discriminator = config.init(4, 6, rank, &mut init());
            let (whole, part) = (logits(&discriminator, None), logits(&discriminator, Some(&[4, 1])));
            for (whole, part) in whole.iter().zip(&part) {
                let expected: Vec<f64> = whole.chunks(6).flat_map(|row| [row[4], row[1]]).collect();
                assert!(close(part, &expected));
            }
        }
    }

    #[test]
    fn a_factorised_output_has_few_weights_and_no_more_than_its_rank() {
        let config = DiscriminatorConfig { hidden: vec![64], norm: Norm::None, ..Default::default() };
        let [full, factorised] = [0, 2].map(|rank| config.init(4, 500, rank, &mut init()));
        assert_eq!(full.num_params(), 5 * 64 + 65 * 500);
        assert_eq!(factorised.num_params(), 5 * 64 + 65 * 2 + 3 * 500);
        assert_eq!(factorised.outputs(), 500);
        // Without its bias the last layer maps to a plane: three differences of rows are linearly dependent.
        let rows = logits(&factorised, None).concat();
        let row = |at: usize| -> Vec<f64> { (0..500).map(|c| rows[at * 500 + c] - rows[c]).collect() };
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let v = [row(1), row(2), row(3)];
        let g = |i: usize, j: usize| dot(&v[i], &v[j]);
        let determinant = g(0, 0) * (g(1, 1) * g(2, 2) - g(1, 2) * g(2, 1)) - g(0, 1) * (g(1, 0) * g(2, 2) - g(1, 2) * g(2, 0))
            + g(0, 2) * (g(1, 0) * g(2, 1) - g(1, 1) * g(2, 0));
        assert!(determinant.abs() < 1e-9 * g(0, 0) * g(1, 1) * g(2, 2), "{determinant}");
    }

    #[test]
    fn a_spectral_norm_takes_the_scale_out_of_the_weights() {
        for (spectral_norm, factor) in [(true, 1.0), (false, 4.0)] {
            let config = DiscriminatorConfig { hidden: vec![], norm: Norm::None, spectral_norm, ..Default::default() };
            let mut discriminator = config.init(4, 5, 0, &mut init());
            discriminator.layers[0].bias = init().constant([5], 0.0);
            let before = logits(&discriminator, None).concat();
            let weight = discriminator.layers[0].weight.val() * 4.0;
            discriminator.layers[0].weight = Param::from_tensor(weight);
            let after = logits(&discriminator, None).concat();
            let expected: Vec<f64> = before.iter().map(|value| value * factor).collect();
            assert!(close(&after, &expected), "{spectral_norm}");
            let longest =
                |rows: &[f64], width: usize| rows.chunks(width).map(|row| row.iter().map(|v| v * v).sum::<f64>()).fold(0.0, f64::max);
            if spectral_norm {
                let inputs: Vec<f64> = domains().iter().flat_map(|x| x.to_data().iter::<f64>().collect::<Vec<_>>()).collect();
                assert!(longest(&after, 5) <= longest(&inputs, 4) * 1.01, "no vector is stretched");
            }
        }
    }
}
