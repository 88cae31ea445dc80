//! Whether losses are finite, judged on the device: a step does not wait for its loss to reach the host.

use burn::tensor::Tensor;

use crate::error::{Error, Result};
use crate::train::schedule::At;

/// What the losses were since somebody last looked.
#[derive(Default)]
pub struct LossMonitor {
    unread: Vec<Unread>,
    /// 1 as long as every loss so far was finite, 0 from the first on that was not.
    finite: Option<Tensor<1>>,
}

struct Unread {
    value: Tensor<1>,
    term: &'static str,
    at: At,
}

impl LossMonitor {
    /// Notes a loss (`[1]`) that a step is about to learn by. The flag that it gives (`[1]`, without autodiff) is 1 as long as all losses were
    /// finite: optimizers change nothing where it is 0, so that no such loss reaches the weights whenever the host looks.
    pub fn note(&mut self, loss: &Tensor<1>, term: &'static str, at: At) -> Tensor<1> {
        let value = loss.clone().inner();
        let is_finite = value.clone().is_finite().float().cast(value.dtype());
        let finite = match self.finite.take() {
            Some(before) => before * is_finite,
            None => is_finite,
        };
        self.finite = Some(finite.clone());
        self.unread.push(Unread { value, term, at });
        finite
    }

    /// Brings all losses that were noted since the last look to the host.
    ///
    /// # Errors
    /// [`Error::NonFinite`] for the first that is not finite.
    pub fn look(&mut self) -> Result<()> {
        let unread = std::mem::take(&mut self.unread);
        if unread.is_empty() {
            return Ok(());
        }
        let values = Tensor::cat(unread.iter().map(|loss| loss.value.clone()).collect(), 0).into_data().convert::<f64>();
        let values = values.try_to_vec::<f64>().expect("a loss is a floating-point number");
        for (loss, value) in unread.iter().zip(values) {
            if !value.is_finite() {
                return Err(Error::NonFinite { term: loss.term.to_owned(), value, epoch: loss.at.epoch, step: loss.at.step });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn the_first_loss_that_is_not_finite_is_named_and_nothing_passes_after_it() {
        let device = Device::flex().autodiff();
        let mut losses = LossMonitor::default();
        let mut note = |value: f64, step| {
            let loss = Tensor::<1>::full([1], value, &device).require_grad();
            let flag = losses.note(&loss, "loss", At { epoch: 2, step }).into_scalar::<f64>();
            (flag, (step % 3 == 2).then(|| losses.look().map_err(|error| error.to_string())))
        };
        assert_eq!(note(1.0, 0), (1.0, None));
        assert_eq!(note(-3e38, 1), (1.0, None));
        assert_eq!(note(0.0, 2), (1.0, Some(Ok(()))));
        assert_eq!(note(f64::INFINITY, 3), (0.0, None));
        assert_eq!(note(1.0, 4), (0.0, None));
        let (flag, looked) = note(f64::NAN, 5);
        let message = looked.unwrap().unwrap_err();
        assert_eq!(flag, 0.0);
        assert!(message.contains("loss is not finite (inf) in epoch 2, step 3"), "{message}");
    }
}
