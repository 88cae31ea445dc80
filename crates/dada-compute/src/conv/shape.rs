//! The sizes of one convolution or pooling.

/// The sizes of one convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConvShape {
    pub batch: usize,
    pub channels: usize,
    pub height: usize,
    pub width: usize,
    pub out_channels: usize,
    pub kernel: [usize; 2],
    pub stride: usize,
    /// Zeros at `[top, bottom, left, right]`.
    pub padding: [usize; 4],
    pub groups: usize,
}

impl ConvShape {
    pub(crate) fn out_height(&self) -> usize {
        (self.height + self.padding[0] + self.padding[1] - self.kernel[0]) / self.stride + 1
    }

    pub(crate) fn out_width(&self) -> usize {
        (self.width + self.padding[2] + self.padding[3] - self.kernel[1]) / self.stride + 1
    }

    /// Pixels of one input map.
    pub(crate) fn pixels(&self) -> usize {
        self.height * self.width
    }

    /// Pixels of one output map.
    pub(crate) fn out_pixels(&self) -> usize {
        self.out_height() * self.out_width()
    }

    pub(crate) fn group_channels(&self) -> usize {
        self.channels / self.groups
    }

    pub(crate) fn group_out_channels(&self) -> usize {
        self.out_channels / self.groups
    }

    /// Kernel positions: columns of the weight matrix per input channel.
    pub(crate) fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Whether the images themselves are the column matrices.
    pub(crate) fn is_pointwise(&self) -> bool {
        self.kernel == [1, 1] && self.stride == 1 && self.padding == [0; 4]
    }
}
