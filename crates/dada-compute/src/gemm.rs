//! Matrix products on slices, through the `gemm` crate.

use super::flex::Shared;

/// A matrix in a slice: element (r, c) lies at `r * row_stride + c * column_stride`.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    pub values: &'a [f32],
    pub row_stride: usize,
    pub column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// Rows of `columns` values one after the other.
    pub(super) fn rows(values: &'a [f32], columns: usize) -> Self {
        Self { values, row_stride: columns, column_stride: 1 }
    }

    pub(super) fn transposed(self) -> Self {
        Self { values: self.values, row_stride: self.column_stride, column_stride: self.row_stride }
    }

    /// From row `row` and column `column` on.
    pub(super) fn from(self, row: usize, column: usize) -> Self {
        Self { values: &self.values[row * self.row_stride + column * self.column_stride..], ..self }
    }
}

/// Whether a product replaces what the destination holds or is added to it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Write {
    Replace,
    Add,
}

/// `out` (rows of `out_stride` values) = or += `left` `[m, k]` · `right` `[k, n]`, on the calling thread.
pub(super) fn matmul([m, k, n]: [usize; 3], out: &mut [f32], out_stride: usize, left: Matrix, right: Matrix, write: Write) {
    let shared = Shared::new(out);
    // SAFETY: `out` is borrowed exclusively by this call.
    unsafe { matmul_shared([m, k, n], &shared, 0, out_stride, left, right, write) }
}

/// As [`matmul`], into the rows that begin `start` into `out`.
///
/// # Safety
/// Nobody else reads or writes the `n` values of each of the `m` rows during the call.
pub(super) unsafe fn matmul_shared(
    [m, k, n]: [usize; 3],
    out: &Shared,
    start: usize,
    out_stride: usize,
    left: Matrix,
    right: Matrix,
    write: Write,
) {
    if m == 0 || n == 0 {
        return;
    }
    assert!(k > 0 && n <= out_stride);
    assert!((m - 1) * left.row_stride + (k - 1) * left.column_stride < left.values.len());
    assert!((k - 1) * right.row_stride + (n - 1) * right.column_stride < right.values.len());
    assert!(start + (m - 1) * out_stride + n <= out.len());
    // SAFETY: the assertions place the last element of each matrix, and with it all of them, inside its slice; the destination is
    // exclusive by the caller's promise, and `gemm` only touches elements of the three matrices.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_ptr().add(start),
            1,
            out_stride as isize,
            write == Write::Add,
            left.values.as_ptr(),
            left.column_stride as isize,
            left.row_stride as isize,
            right.values.as_ptr(),
            right.column_stride as isize,
            right.row_stride as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

/// In float64: `out` `[m, n]` (rows of `out_stride` values) = or += left `[m, k]` · right `[k, n]`, each a slice with its row and column
/// stride, on the calling thread.
pub(super) fn multiply(
    [m, k, n]: [usize; 3],
    out: &mut [f64],
    out_stride: usize,
    (left, left_row, left_column): (&[f64], usize, usize),
    (right, right_row, right_column): (&[f64], usize, usize),
    write: Write,
) {
    if m == 0 || n == 0 {
        return;
    }
    assert!(k > 0 && n <= out_stride);
    assert!((m - 1) * out_stride + n <= out.len());
    assert!((m - 1) * left_row + (k - 1) * left_column < left.len());
    assert!((k - 1) * right_row + (n - 1) * right_column < right.len());
    // SAFETY: the assertions place the last element of each matrix, and with it all of them, inside its slice; `out` is borrowed
    // exclusively.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            out_stride as isize,
            write == Write::Add,
            left.as_ptr(),
            left_column as isize,
            left_row as isize,
            right.as_ptr(),
            right_column as isize,
            right_row as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_of_strided_matrices_equal_a_triple_loop() {
        let (m, k, n) = (5, 7, 3);
        let left: Vec<f32> = (0..m * k).map(|i| (i as f32 * 0.7).sin()).collect();
        let right: Vec<f32> = (0..k * n).map(|i| (i as f32 * 0.3).cos()).collect();
        let mut out = vec![1.0; m * 4];
        matmul([m, k, n], &mut out, 4, Matrix::rows(&left, m).transposed(), Matrix::rows(&right, n), Write::Add);
        for r in 0..m {
            for c in 0..n {
                let expected: f32 = 1.0 + (0..k).map(|i| left[i * m + r] * right[i * n + c]).sum::<f32>();
                assert!((out[r * 4 + c] - expected).abs() < 1e-5);
            }
            assert_eq!(out[r * 4 + 3], 1.0, "the gap between rows is untouched");
        }
    }
}
