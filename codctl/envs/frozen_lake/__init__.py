"""FrozenLake-Obscure: grid walks whose four action codes hide a permutation of the directions."""
