"""quant: networks -> quantized networks. Recipes as data, quantized layers, and the report."""
