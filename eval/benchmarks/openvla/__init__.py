"""OpenVLA's programs, costs and PyTorch counterpart."""
