//! How the list of backbones becomes code.

/// Makes everything that names the backbones out of the list in `mod.rs`, a line for each file and in it one for each of its networks:
///
/// ```text
/// file::Family {
///     Variant = "name in the configuration": member,
/// }
/// ```
///
/// The file defines the family, which implements [`Family`](super::Family), and the type of its members.
macro_rules! backbones {
    ($($file:ident::$Family:ident { $($Variant:ident = $name:literal: $member:expr),+ $(,)? })+) => {
        $(pub mod $file;)+

        /// Which backbone, by timm's names, and its own keys.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(tag = "name")]
        pub enum BackboneConfig {
            $($(
                #[doc = concat!("`", $name, "`: see [`", stringify!($file), "`].")]
                #[serde(rename = $name)]
                $Variant(<$file::$Family as Family>::Keys),
            )+)+
        }

        impl BackboneConfig {
            /// Every backbone with its defaults, in the list's order.
            pub fn all() -> Vec<Self> {
                vec![$($(Self::$Variant(Default::default())),+),+]
            }

            /// The name in the configuration, which is timm's.
            pub fn name(&self) -> &'static str {
                match self {
                    $($(Self::$Variant(_) => $name,)+)+
                }
            }

            /// A network with random weights.
            pub fn init(&self, init: &mut Initializer) -> Backbone {
                match self {
                    $($(Self::$Variant(keys) => Backbone::$Family(Family::new(&$member, keys, init)),)+)+
                }
            }

            /// Channels of the last map, or the width of a token.
            pub fn features(&self) -> usize {
                match self {
                    $($(Self::$Variant(keys) => $file::$Family::features(&$member, keys),)+)+
                }
            }

            /// What the usual weights of this network expect; nothing where there are none, or several that differ.
            pub fn preprocess(&self) -> Option<Preprocess> {
                match self {
                    $($(Self::$Variant(_) => $file::$Family::preprocess(&$member),)+)+
                }
            }

            /// Whether the network makes tokens, the first of which stands for the whole picture.
            pub fn has_class_token(&self) -> bool {
                match self {
                    $($(Self::$Variant(_) => $file::$Family::CLASS_TOKEN,)+)+
                }
            }

            fn only_size(&self) -> Option<usize> {
                match self {
                    $($(Self::$Variant(_) => $file::$Family::ONLY_SIZE,)+)+
                }
            }
        }

        /// A network; which one does not show in the paths of its parameters.
        #[derive(Module, Debug)]
        #[expect(clippy::large_enum_variant, reason = "there is one of them")]
        pub enum Backbone {
            $(
                #[doc = concat!("Of [`", stringify!($file), "`].")]
                $Family($file::$Family),
            )+
        }

        impl Backbone {
            /// Into how many consecutive parts the network can be divided; the first is its stem.
            pub fn stages(&self) -> usize {
                match self {
                    $(Self::$Family(network) => network.stages(),)+
                }
            }

            /// A part of the network, on what the stages before it made: `0..n` of pictures, then `n..stages()` of the result, is `forward`.
            /// A frozen prefix is run once, in [`Mode::Infer`], and kept.
            pub fn forward_stages(&self, x: Features, stages: Range<usize>, mode: Mode) -> Features {
                match self {
                    $(Self::$Family(network) => network.forward_stages(x, stages, mode),)+
                }
            }
        }
    };
}
