//! How our operators reach the memory of burn's flex tensors.

use std::cell::Cell;
use std::marker::PhantomData;

use burn::Tensor;
use burn::backend::{DispatchTensorKind, TensorMetadata};
use burn::tensor::{DType, Shape, TensorData};
use burn_flex::FlexTensor;

/// Whether our own loops apply: float32 on the flex backend, tracked by autodiff or not.
pub(super) fn is_flex_f32<const D: usize>(x: &Tensor<D>) -> bool {
    let tensor = x.clone().into_dispatch();
    let on_flex = match &tensor.kind {
        DispatchTensorKind::Flex(_) => true,
        DispatchTensorKind::Autodiff(inner) => matches!(**inner, DispatchTensorKind::Flex(_)),
        #[allow(unreachable_patterns)]
        _ => false,
    };
    on_flex && tensor.dtype() == DType::F32
}

/// The values of a contiguous float32 tensor.
pub(super) fn values(x: &FlexTensor) -> &[f32] {
    x.as_slice::<f32>().expect("made contiguous by the caller, and float32 by `is_flex_f32`")
}

/// The values of a contiguous float32 tensor to write to: in place where nobody else holds them, otherwise in a copy.
pub(super) fn values_mut(x: &mut FlexTensor) -> &mut [f32] {
    let (start, end) = x.layout().contiguous_offsets().expect("made contiguous by the caller");
    &mut x.storage_mut::<f32>()[start..end]
}

/// The tensor's sizes.
pub(super) fn dims<const D: usize>(x: &FlexTensor) -> [usize; D] {
    x.shape().dims()
}

/// A tensor that takes over `values`.
pub(super) fn tensor<const D: usize>(values: Vec<f32>, dims: [usize; D]) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, Shape::new(dims)))
}

/// A mutable slice that several threads write to at once, each at its own places.
pub(super) struct Shared<'a> {
    start: *mut f32,
    len: usize,
    borrow: PhantomData<&'a mut [f32]>,
}

// SAFETY: the pointer is only dereferenced through `Shared::slice` (unsafe: the caller promises that no two threads hold the same
// place), so that handing it to another thread is handing over plain `f32` memory.
unsafe impl Send for Shared<'_> {}
// SAFETY: as above.
unsafe impl Sync for Shared<'_> {}

impl<'a> Shared<'a> {
    pub(super) fn new(values: &'a mut [f32]) -> Self {
        Self { start: values.as_mut_ptr(), len: values.len(), borrow: PhantomData }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// For foreign kernels, which take a pointer and strides.
    pub(super) fn as_ptr(&self) -> *mut f32 {
        self.start
    }

    /// `len` values from `start`.
    ///
    /// # Safety
    /// While the slice lives, nobody else reads or writes these places.
    #[allow(clippy::mut_from_ref)]
    pub(super) unsafe fn slice(&self, start: usize, len: usize) -> &mut [f32] {
        assert!(start + len <= self.len, "{len} values from {start} of {}", self.len);
        // SAFETY: in bounds by the assertion, exclusive by the caller's promise, alive by the lifetime of the borrow.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), len) }
    }
}

thread_local! {
    static SCRATCH: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// Runs `work` on a buffer of `len` values of unspecified content, aligned to cache lines, that the thread keeps for the next call.
pub(super) fn with_scratch<R>(len: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
    const LINE: usize = 16;
    let mut buffer = SCRATCH.take();
    if buffer.len() < len + LINE {
        buffer.clear();
        buffer.resize(len + LINE, 0.0);
    }
    let start = buffer.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE);
    let result = work(&mut buffer[start..start + len]);
    SCRATCH.set(buffer);
    result
}
