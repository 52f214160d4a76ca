//! What a derived `Deserialize` says of its type: the variants of an enum, the fields of a variant. Serde hands these
//! lists to whoever deserializes, so they can't be forgotten as a list kept by hand can.

use serde::de::{self, Deserializer, EnumAccess, IntoDeserializer, VariantAccess, Visitor};

pub fn variants<E: de::DeserializeOwned>() -> Vec<&'static str> {
    let mut heard = Vec::new();
    drop(E::deserialize(Listener { variant: None, heard: &mut heard }));
    heard
}

pub fn fields<E: de::DeserializeOwned>(variant: &'static str) -> Vec<&'static str> {
    let mut heard = Vec::new();
    drop(E::deserialize(Listener { variant: Some(variant), heard: &mut heard }));
    heard
}

/// Notes the list it is handed and gives up.
struct Listener<'a> {
    variant: Option<&'static str>,
    heard: &'a mut Vec<&'static str>,
}

type Error = de::value::Error;

fn enough<T>() -> Result<T, Error> {
    Err(de::Error::custom("heard enough"))
}

impl<'de> Deserializer<'de> for Listener<'_> {
    type Error = Error;

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        if self.variant.is_some() {
            return visitor.visit_enum(self);
        }
        self.heard.extend(variants);
        enough()
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, Error> {
        self.heard.extend(fields);
        enough()
    }

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Error> {
        enough()
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map identifier ignored_any
    }
}

impl<'de> EnumAccess<'de> for Listener<'_> {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<S: de::DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Error> {
        let name = self.variant.expect("only asked when there is a variant");
        Ok((seed.deserialize(IntoDeserializer::<Error>::into_deserializer(name))?, self))
    }
}

impl<'de> VariantAccess<'de> for Listener<'_> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        // A payload would be a bare string, which could never get a field.
        panic!("an event without fields is written {{}}")
    }

    fn newtype_variant_seed<S: de::DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Error> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _len: usize, _visitor: V) -> Result<V::Value, Error> {
        panic!("an event's fields have names")
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, Error> {
        self.heard.extend(fields);
        enough()
    }
}
