//! How the list of losses becomes code.

/// Makes everything that names the losses out of the list in `mod.rs`, a line each:
///
/// ```text
/// file: Configuration => Module = "name in the configuration";
/// ```
///
/// The file defines both types; the configuration implements [`LossSettings`](super::LossSettings), the module [`Loss`](super::Loss).
macro_rules! proxy_losses {
    ($($file:ident: $Config:ident => $Loss:ident = $name:literal;)+) => {
        $(
            mod $file;
            pub use $file::{$Config, $Loss};
        )+

        /// Which loss, by `loss.name`, and its own keys.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "name")]
        pub enum ProxyLossConfig {
            $(
                #[doc = concat!("`", $name, "`: see [`", stringify!($Config), "`].")]
                #[serde(rename = $name)]
                $Loss($Config),
            )+
        }

        impl ProxyLossConfig {
            /// Every loss with its defaults, in the list's order.
            pub fn all() -> Vec<Self> {
                vec![$(Self::$Loss($Config::default())),+]
            }

            /// The name in the configuration.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$Loss(_) => $name,)+
                }
            }

            /// The default of `loss.weight` for this loss, [`LossSettings::DEFAULT_WEIGHT`].
            pub fn default_weight(&self) -> f64 {
                match self {
                    $(Self::$Loss(_) => $Config::DEFAULT_WEIGHT,)+
                }
            }

            /// # Errors
            /// For a parameter outside the range in which the loss is defined.
            pub fn check(&self) -> Result<()> {
                match self {
                    $(Self::$Loss(config) => config.check(),)+
                }
            }

            /// A loss with freshly drawn proxies of `dim` dimensions for `classes` classes.
            pub fn init(&self, classes: usize, dim: usize, init: &mut Initializer) -> ProxyLoss {
                match self {
                    $(Self::$Loss(config) => ProxyLoss::$Loss(config.init(classes, dim, init)),)+
                }
            }
        }

        /// A loss with its proxies. Which one does not show in the paths of its parameters.
        #[derive(Module, Debug)]
        pub enum ProxyLoss {
            $(
                #[doc = concat!("`", $name, "`: see [`", stringify!($Loss), "`].")]
                $Loss($Loss),
            )+
        }

        impl ProxyLoss {
            fn loss(&self) -> &dyn Loss {
                match self {
                    $(Self::$Loss(loss) => loss,)+
                }
            }
        }
    };
}
