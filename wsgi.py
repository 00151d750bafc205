"""What gunicorn and `flask --app wsgi` load. gevent patches before anything else is imported."""

from gevent import monkey

monkey.patch_all()

from app import create_app

app = create_app()
