//! Which header fields a response has, read in one pass.

use crate::storable::belongs_to_connection;
use http::HeaderMap;

/// Which of the header fields that matter for storing a response has: one look at each name instead of a search for
/// each field.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Has(u8);

impl Has {
    const AGE: u8 = 1;
    const CONNECTION: u8 = 1 << 1;
    const DATE: u8 = 1 << 2;
    const EXPIRES: u8 = 1 << 3;
    const SET_COOKIE: u8 = 1 << 4;
    const VALIDATOR: u8 = 1 << 5;
    const VARY: u8 = 1 << 6;

    pub(crate) fn of(response: &HeaderMap) -> Self {
        Self(response.keys().fold(0, |all, name| all | Self::of_field(name.as_str())))
    }

    fn of_field(name: &str) -> u8 {
        match name {
            "age" => Self::AGE,
            "date" => Self::DATE,
            "expires" => Self::EXPIRES,
            "set-cookie" => Self::SET_COOKIE,
            "etag" | "last-modified" => Self::VALIDATOR,
            "vary" => Self::VARY,
            name if belongs_to_connection(name) => Self::CONNECTION,
            _ => 0,
        }
    }

    pub(crate) fn age(self) -> bool {
        self.0 & Self::AGE != 0
    }

    /// Fields that belong to the connection.
    pub(crate) fn connection(self) -> bool {
        self.0 & Self::CONNECTION != 0
    }

    pub(crate) fn date(self) -> bool {
        self.0 & Self::DATE != 0
    }

    pub(crate) fn expires(self) -> bool {
        self.0 & Self::EXPIRES != 0
    }

    pub(crate) fn set_cookie(self) -> bool {
        self.0 & Self::SET_COOKIE != 0
    }

    /// `ETag` or `Last-Modified`.
    pub(crate) fn validator(self) -> bool {
        self.0 & Self::VALIDATOR != 0
    }

    pub(crate) fn vary(self) -> bool {
        self.0 & Self::VARY != 0
    }
}
