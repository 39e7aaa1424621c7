"""Pages and pictures that the documentation draws from the results of studies; not shipped."""
