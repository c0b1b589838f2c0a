//! Single values by name, such as when the store was made. Called by the controllers of notifications.

use super::{Error, Store};

impl Store {
    /// The value of that name.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn value(&self, name: &str) -> Result<Option<String>, Error> {
        let query = sqlx::query_scalar("SELECT value FROM state WHERE name = $1");
        Ok(query.bind(name).fetch_optional(&self.pool).await?)
    }

    /// Sets the value of that name.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn set_value(&self, name: &str, value: &str) -> Result<(), Error> {
        self.trip("set value");
        let sql =
            "INSERT INTO state (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
        sqlx::query(sql).bind(name).bind(value).execute(&self.pool).await?;
        self.trip("value set");
        Ok(())
    }

    /// The value of that name; where there is none yet, this one from now on.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn value_or(&self, name: &str, value: &str) -> Result<String, Error> {
        self.trip("set first value");
        let sql = "INSERT INTO state (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";
        sqlx::query(sql).bind(name).bind(value).execute(&self.pool).await?;
        self.trip("first value set");
        Ok(self.value(name).await?.unwrap_or_else(|| value.to_owned()))
    }
}
