//! Which algorithm computes a convolution and its gradients: the smallest number of operations, and of passes over the maps, that its shape
//! allows.

use burn_flex::FlexTensor;

use super::operands::{Epilogue, Folded, Gradients, Incoming};
use super::shape::ConvShape;
use super::{depthwise, pointwise, product_gradients, products, winograd};
use crate::activation::{Activation, activation_gradient};
use crate::flex::values;
use crate::gemm::Matrix;
use crate::lanes;

/// y `[batch, out_channels, out_height, out_width]` = epilogue(x * weight).
pub(super) fn forward(x: &[f32], weight: &[f32], s: &ConvShape, epilogue: Option<Epilogue>) -> Vec<f32> {
    if depthwise::applies(s) {
        return depthwise::forward(x, weight, s, epilogue);
    }
    if winograd::applies(s) {
        return winograd::forward(x, weight, s, epilogue);
    }
    products::forward(x, Matrix::rows(weight, s.group_channels() * s.taps()), s, epilogue)
}

/// All gradients; that of x only with `of_x`.
pub(super) fn gradients(
    x: &[f32],
    folded: Folded,
    dy: FlexTensor,
    y: Option<(FlexTensor, Activation)>,
    s: &ConvShape,
    of_x: bool,
) -> Gradients {
    let dy = dy.to_contiguous();
    let incoming = Incoming { dy: values(&dy), y: y.as_ref().map(|(y, activation)| (values(y), *activation)) };
    if depthwise::applies(s) {
        return depthwise::gradients(x, folded, incoming, s, of_x);
    }
    if pointwise::applies(s) {
        return pointwise::gradients(x, folded, incoming, s, of_x);
    }
    let dz = match y {
        Some((y, activation)) => activation_gradient(dy, values(&y), activation),
        None => dy,
    };
    let dz = values(&dz);
    Gradients {
        x: of_x.then(|| by_x(dz, folded, s)),
        weight: by_weight(x, dz, s),
        shift: if folded.scale.is_some() { channel_sums(dz, s) } else { Vec::new() },
    }
}

/// The gradient of x from the gradient of x * (weight * scale).
fn by_x(dy: &[f32], folded: Folded, s: &ConvShape) -> Vec<f32> {
    let [top, bottom, left, right] = s.padding;
    let [rows, columns] = s.kernel;
    if s.stride == 1 && top.max(bottom) < rows && left.max(right) < columns {
        // A convolution of the gradient with the kernel turned around and its channels exchanged.
        let turned = ConvShape {
            channels: s.out_channels,
            height: s.out_height(),
            width: s.out_width(),
            out_channels: s.channels,
            padding: [rows - 1 - top, rows - 1 - bottom, columns - 1 - left, columns - 1 - right],
            ..*s
        };
        if s.taps() == 1 && s.groups == 1 {
            return products::forward(dy, Matrix::rows(&folded.scaled(s), s.channels).transposed(), &turned, None);
        }
        return forward(dy, &folded.turned(s), &turned, None);
    }
    product_gradients::by_x(dy, folded, s)
}

/// The gradient of the weight `[out_channels, channels / groups, kh, kw]`, summed over the batch in a fixed order.
fn by_weight(x: &[f32], dz: &[f32], s: &ConvShape) -> Vec<f32> {
    if winograd::applies(s) {
        return winograd::weight_gradient(x, dz, s);
    }
    product_gradients::by_weight(x, dz, s)
}

/// Each output channel's sum over the batch and its map.
fn channel_sums(dz: &[f32], s: &ConvShape) -> Vec<f32> {
    let mut sums = vec![0.0; s.out_channels];
    for image in dz.chunks_exact(s.out_channels * s.out_pixels()) {
        for (sum, map) in sums.iter_mut().zip(image.chunks_exact(s.out_pixels())) {
            *sum += f64::from(lanes::sum(map));
        }
    }
    sums.into_iter().map(|sum| sum as f32).collect()
}
