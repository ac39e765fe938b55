//! Built-in plugins: the adapters of a port, and how they are plugged.
//!
//! An adapter is a file in its port's folder with a `Config` (its table) that implements the port's trait for tables. It is plugged by its `mod` line
//! and one line in the port's [`adapters!`] list, which makes of all lines the port's `Config`, the enum of the names, and the way from the chosen
//! name to its table. Nobody else knows adapters by name; the port asks the chosen table what it needs and builds what it describes.

use serde::Serialize;

/// Lists a port's adapters, `Name => module`, the default one first.
///
/// Makes `Config` with the setting `adapter`, a table for each of them, and what else it is given; `Adapter`, the names; and `Config::chosen`, the table
/// of the adapter that is configured, as the port's trait.
macro_rules! adapters {
    (
        $(#[$on_config:meta])*
        Config of dyn $table:ident {
            $(#[$on_adapter:meta])*
            adapter: {
                $default:ident => $default_module:ident,
                $($name:ident => $module:ident,)*
            },
            $($(#[$on_field:meta])* $field:ident: $type:ty,)*
        }
    ) => {
        $(#[$on_config])*
        #[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct Config {
            $(#[$on_adapter])*
            pub adapter: Adapter,
            #[serde(skip_serializing_if = "crate::plugin::says_nothing")]
            pub $default_module: $default_module::Config,
            $(
                #[serde(skip_serializing_if = "crate::plugin::says_nothing")]
                pub $module: $module::Config,
            )*
            $($(#[$on_field])* pub $field: $type,)*
        }

        /// The adapters there are, by their names in the configuration.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "lowercase")]
        pub enum Adapter {
            #[default]
            $default,
            $($name,)*
        }

        impl Config {
            /// The table of the adapter that is configured.
            fn chosen(&self) -> &dyn $table {
                match self.adapter {
                    Adapter::$default => &self.$default_module,
                    $(Adapter::$name => &self.$module,)*
                }
            }
        }
    };
}

pub(crate) use adapters;

/// Whether a table has no settings: there is nothing to show of it then.
pub fn says_nothing(table: &impl Serialize) -> bool {
    serde_json::to_value(table).is_ok_and(|table| table.as_object().is_some_and(serde_json::Map::is_empty))
}
