"""What `codctl env validate` looks at, one kind of question a file."""
