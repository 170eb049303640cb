"""The market as a Gymnasium env: data, features, actions, rewards, and the engine beneath."""
