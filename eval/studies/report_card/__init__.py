"""What `eval.tokenizers` measures, piece by piece; every statistic is a function of arrays.

config, data     what is compared, on which chunks
candidates       the tokenizers: given, or fitted here
processor        a Hugging Face processor as one of them
beside_fast      error against bits beside FAST's, from `rfsq_jax.tokenizers.rates`
order            entropy of the next token given the earlier
neighbours       whether the nearest chunks stay the nearest
damage           what wrong tokens do
cost             speed and size
card             all of it, for one tokenizer
tables, figure   what is printed and drawn
"""
