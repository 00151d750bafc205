"""Sign-in, form protection and the page limits: made here, bound to the app by app.py."""

from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from flask_login import LoginManager
from flask_migrate import Migrate
from flask_wtf import CSRFProtect

csrf = CSRFProtect()
login_manager = LoginManager()
migrate = Migrate(directory="migrations", compare_type=True)
limiter = Limiter(key_func=get_remote_address, strategy="sliding-window-counter", headers_enabled=False)
